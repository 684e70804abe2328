"""Stochastic gradient descent as PyTorch does it, and a rate that rises and falls."""

import keras
from keras import ops

from mm_tf import _checks


@keras.saving.register_keras_serializable("mm_tf")
class SGD(keras.optimizers.SGD):
    r"""SGD whose weight decay goes through the momentum, as in PyTorch.

    $$ g' = g + \lambda w, \quad m \leftarrow \mu m + g', \quad
       w \leftarrow w - \eta m $$

    `keras.optimizers.SGD` differs in two ways: its `weight_decay` is decoupled
    (w is multiplied by 1 - eta * lambda, beside the momentum), and its momentum
    holds the learning rates of the steps before, so that a drop of the learning
    rate takes some steps to act.

    Args:
        learning_rate: A number >= 0 or a Keras schedule.
        momentum: In [0, 1].
        l2: The lambda above, >= 0: half of it times the squared norm of all
            trainable variables is added to the loss, except for those of
            `exclude_from_weight_decay`.
        nesterov: Whether to use Nesterov momentum, in PyTorch's form.
        vector_rate: The learning rate of variables with one axis (biases, and the
            scales and offsets of normalization), as a multiple of the others', > 0.
            Defaults to 1.
        name: The optimizer's name.
        **kwargs: As for `keras.optimizers.SGD` (`clipnorm`, `use_ema`, ...), but
            for `weight_decay`.

    Raises:
        ValueError: An argument is outside its range, or `weight_decay` is given.

    Example:

    >>> import keras
    >>> import mm_tf
    >>> weight = keras.Variable([1.0])
    >>> optimizer = mm_tf.optimizers.SGD(0.1, momentum=0.9, l2=0.5)
    >>> optimizer.apply([keras.ops.convert_to_tensor([1.0])], [weight])
    >>> round(float(weight[0]), 3)
    0.85

    Source: Sutskever et al., "On the importance of initialization and momentum
    in deep learning", 2013, in the form of `torch.optim.SGD`.
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum=0.9,
        l2=2e-4,
        nesterov=False,
        vector_rate=1.0,
        name="sgd",
        **kwargs,
    ):
        if kwargs.get("weight_decay") is not None:
            raise ValueError(
                "`weight_decay` is Keras's decoupled decay, another algorithm; use "
                f"`l2`. Received: weight_decay={kwargs['weight_decay']!r}"
            )
        # Keras allows a function of the step as well.
        if not callable(learning_rate):
            learning_rate = _checks.check_number(
                "learning_rate", learning_rate, low=0.0
            )
        super().__init__(
            learning_rate=learning_rate,
            momentum=_checks.check_number("momentum", momentum, low=0.0, high=1.0),
            nesterov=_checks.check_bool("nesterov", nesterov),
            name=name,
            **kwargs,
        )
        self.l2 = _checks.check_number("l2", l2, low=0.0)
        self.vector_rate = _checks.check_number(
            "vector_rate", vector_rate, low=0.0, low_allowed=False
        )
        self._trained = None

    def train_only(self, variables):
        """Says which variables are trained from now on; the others stay as they are.

        The optimizer keeps the momentum of all that it was built with, so that some
        can rest for a while, as those of a frozen backbone. On JAX, where the steps
        are functions without a state, Keras does not notice by itself.

        Args:
            variables: Some of the variables that it was built with, in the order of
                the model's `trainable_variables`.

        Raises:
            ValueError: The optimizer is not built, or not with one of them.
        """
        variables = list(variables)
        if not self.built:
            raise ValueError(
                "The optimizer must be built first: `optimizer.build(variables)`."
            )
        self._check_variables_are_known(variables)
        everything = len(variables) == len(self._trainable_variables)
        # Their places: variables themselves Keras would take for the optimizer's own.
        places = tuple(self._get_variable_index(each) for each in variables)
        self._trained = None if everything else places

    def stateless_apply(self, optimizer_variables, grads, trainable_variables):
        """Updates values of variables without changing any; called by Keras."""
        if self._trained is None:
            return super().stateless_apply(
                optimizer_variables, grads, trainable_variables
            )
        trained = [self._trainable_variables[place] for place in self._trained]
        pairs = [
            *zip(trained, trainable_variables, strict=True),
            *zip(self.variables, optimizer_variables, strict=True),
        ]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            self.apply(grads, trained)
        values = [
            value if (new := scope.get_current_value(variable)) is None else new
            for variable, value in pairs
        ]
        return values[: len(trained)], values[len(trained) :]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; called by Keras."""
        # TensorFlow would compute a product with 1, and round in another order.
        if self.vector_rate != 1 and len(variable.shape) == 1:
            learning_rate = learning_rate * self.vector_rate
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        if self.l2 > 0 and self._use_weight_decay(variable):
            step = step + ops.cast(self.l2, variable.dtype) * variable
        if self.momentum > 0:
            accumulator = self.momentums[self._get_variable_index(variable)]
            momentum = ops.cast(self.momentum, variable.dtype)
            accumulated = momentum * accumulator + step
            self.assign(accumulator, accumulated)
            step = step + momentum * accumulated if self.nesterov else accumulated
        self.assign_sub(variable, learning_rate * step)

    def get_config(self):
        config = {"l2": self.l2, "vector_rate": self.vector_rate}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("mm_tf")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its peak, then falls linearly.

    It is a function of the optimizer's step, so a training that resumes from the
    optimizer's state has the rates that it would have had.

    Args:
        peak: The largest rate, > 0.
        steps: The steps of the whole training, >= 1. A `fit` of fewer steps ends
            before the rate has fallen, and nothing warns of it.
        rise: The share of the steps in which it rises, in [0, 1]. Defaults to 0.2.
        start: The first rate, as a share of the peak, in [0, 1]. Defaults to 0.2.
        end: The rate after the last step, likewise. Defaults to 0.

    Raises:
        ValueError: An argument is outside its range.

    Example:

    >>> import mm_tf
    >>> rate = mm_tf.optimizers.OneCycle(0.5, steps=100)
    >>> [round(float(rate(step)), 3) for step in (0, 10, 20, 60, 100)]
    [0.1, 0.3, 0.5, 0.25, 0.0]

    Source: Smith and Topin, "Super-Convergence", 2018, without its third phase.
    """

    def __init__(self, peak, steps, rise=0.2, start=0.2, end=0.0):
        self.peak = _checks.check_number("peak", peak, low=0.0, low_allowed=False)
        self.steps = _checks.check_integer("steps", steps, low=1)
        shares = {"rise": rise, "start": start, "end": end}
        for name, value in shares.items():
            checked = _checks.check_number(name, value, low=0.0, high=1.0)
            setattr(self, name, checked)

    def __call__(self, step):
        done = ops.cast(step, "float32") / self.steps
        # A rise or a fall of no length has no slope.
        risen = self.start + (1 - self.start) * done / max(self.rise, 1e-12)
        fallen = 1 - (1 - self.end) * (done - self.rise) / max(1 - self.rise, 1e-12)
        return self.peak * ops.where(
            done < self.rise, risen, ops.maximum(fallen, self.end)
        )

    def get_config(self):
        names = ("peak", "steps", "rise", "start", "end")
        return {name: getattr(self, name) for name in names}
