"""The paper's published numbers: Tables 1, 2 and 3.

Kang, Vu, Yoo, "Learning Imbalanced Datasets with Maximum Margin Loss", 2021.
"""

from types import MappingProxyType

SETTINGS = (
    "cifar10_lt100",
    "cifar10_lt10",
    "cifar10_step100",
    "cifar10_step10",
    "cifar100_lt100",
    "cifar100_lt10",
    "cifar100_step100",
    "cifar100_step10",
)

# Table 1: top-1 error in %, ResNet-32, 200 epochs, in the order of SETTINGS.
TABLE1 = MappingProxyType(
    {
        "erm": (29.64, 13.61, 36.70, 17.50, 61.68, 44.30, 61.45, 45.37),
        "focal": (29.62, 13.34, 36.09, 16.36, 61.59, 44.22, 61.43, 46.54),
        "ldam": (26.65, 13.04, 33.42, 15.00, 60.40, 43.09, 60.42, 43.73),
        "mm": (26.56, 12.34, 33.19, 13.99, 60.29, 42.63, 60.25, 43.55),
        "cb_rs": (29.45, 13.21, 38.14, 15.41, 66.56, 44.94, 66.23, 46.92),
        "cb_rw": (27.63, 13.46, 38.06, 16.20, 66.01, 42.88, 78.69, 47.52),
        "cb_focal": (25.43, 12.90, 39.73, 16.54, 63.98, 42.01, 80.24, 49.98),
        "hg_drs": (27.16, 14.03, 29.93, 14.85, None, None, None, None),
        "ldam_hg_drs": (24.42, 12.72, 24.53, 12.82, None, None, None, None),
        "m_drw": (24.94, 13.57, 27.67, 13.17, 59.49, 43.78, 58.91, 44.72),
        "ldam_drw": (22.97, 11.84, 23.08, 12.19, 57.96, 41.29, 54.64, 40.54),
        "ldam_drw_ssp": (22.17, 11.47, 22.95, 11.83, 56.57, 41.09, 54.28, 40.33),
        "mm_drw": (21.98, 11.44, 22.83, 11.48, 57.14, 40.63, 54.57, 40.28),
        "mm_ldam_drw": (21.37, 11.26, 21.82, 11.33, 56.53, 40.54, 53.70, 40.07),
    }
)

# Tables 2 and 3: the best (beta, delta minus) of MM-DRW in each setting.
BEST_BETA_DELTA = MappingProxyType(
    {
        "cifar10_lt100": (1.5, 0.6),
        "cifar10_lt10": (1.2, 0.7),
        "cifar10_step100": (1.3, 0.6),
        "cifar10_step10": (1.0, 2.1),
        "cifar100_lt100": (1.3, 1.2),
        "cifar100_lt10": (1.4, 1.5),
        "cifar100_step100": (1.8, 1.8),
        "cifar100_step10": (1.1, 2.4),
    }
)

# Tables 2 and 3, the ablation of MM-DRW on CIFAR-10 and on CIFAR-100: top-1 error in
# % of (setting, beta, delta minus), ResNet-32, 200 epochs.
ABLATION_METHOD = "mm_drw"
TABLE2 = MappingProxyType(
    {
        ("cifar10_lt100", 1.4, 0.6): 22.24,
        ("cifar10_lt100", 1.5, 0.6): 21.98,
        ("cifar10_lt100", 1.6, 0.6): 22.43,
        ("cifar10_step100", 1.2, 0.6): 22.92,
        ("cifar10_step100", 1.3, 0.6): 22.83,
        ("cifar10_step100", 1.4, 0.6): 23.29,
        ("cifar10_lt10", 1.1, 0.7): 11.66,
        ("cifar10_lt10", 1.2, 0.7): 11.44,
        ("cifar10_lt10", 1.3, 0.7): 11.86,
        ("cifar10_step10", 1.0, 2.1): 11.48,
        ("cifar10_step10", 1.1, 2.1): 11.64,
        ("cifar10_step10", 1.2, 2.1): 11.78,
    }
)
TABLE3 = MappingProxyType(
    {
        ("cifar100_lt100", 1.2, 1.2): 58.02,
        ("cifar100_lt100", 1.3, 1.2): 57.14,
        ("cifar100_lt100", 1.4, 1.2): 57.24,
        ("cifar100_step100", 1.7, 1.8): 54.65,
        ("cifar100_step100", 1.8, 1.8): 54.57,
        ("cifar100_step100", 1.9, 1.8): 54.76,
        ("cifar100_lt10", 1.3, 1.5): 40.97,
        ("cifar100_lt10", 1.4, 1.5): 40.63,
        ("cifar100_lt10", 1.5, 1.5): 40.95,
        ("cifar100_step10", 1.0, 2.4): 40.42,
        ("cifar100_step10", 1.1, 2.4): 40.28,
        ("cifar100_step10", 1.2, 2.4): 40.48,
    }
)
ABLATIONS = MappingProxyType({"table2": TABLE2, "table3": TABLE3})


def published_error(setting, method):
    """Returns Table 1's top-1 error in %, or None where it has none.

    Example:

    >>> from mm_tf.experiments import paper
    >>> paper.published_error("cifar10_lt100", "mm_ldam_drw")
    21.37
    """
    if setting not in SETTINGS or method not in TABLE1:
        return None
    return TABLE1[method][SETTINGS.index(setting)]
