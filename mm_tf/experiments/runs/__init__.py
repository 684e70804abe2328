"""One run: its images, its training, its folder and its result."""
