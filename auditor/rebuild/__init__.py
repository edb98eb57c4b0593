"""What is made out of an image: a file brought back, an image without its hidden files."""
