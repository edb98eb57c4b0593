"""Tools for the project's own checks and generated files; not installed with the package."""
