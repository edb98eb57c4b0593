"""Packages that a distribution published: proven by the signed package lists that apt leaves in an image.

    release        an `InRelease` file, signed by the distribution, has the SHA-256 of each package list
    package_list   a package list (`Packages`) has size and SHA-256 of each package
    image_lists    lists of an image's layers, and the packages that they prove
    package_files  the files that these packages install, with their MD5

A package whose SHA-256 a signed list has is the one that anyone can download from the distribution: it has no secret of
the image, and need not be extracted. Nor need an archive that it installed. All others are.
"""
