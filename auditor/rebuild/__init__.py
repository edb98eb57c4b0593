"""Flatten an image (plan, write, prove, deliver) and recover files from its layers.

This package must not know report formats, the command line or the config file.
"""
