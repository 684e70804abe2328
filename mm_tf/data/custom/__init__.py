"""Your images: folders, CSV files, archives and data sets of TensorFlow Datasets."""
