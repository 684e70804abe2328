"""`python -m mm_tf.data.inspect`."""

from mm_tf.data.inspect.show import main

if __name__ == "__main__":
    main()
