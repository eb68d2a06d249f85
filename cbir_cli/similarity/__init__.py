"""Why two images are found alike: one method a file."""
