"""Lists of repositories: by the OCI catalog, or by the API of a registry that has none or restricts it.

`kinds` has the table. Each other module lists the repositories of one kind of registry. A list has the
repositories that the credentials can see.
"""
