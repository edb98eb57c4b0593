"""Presentation of a sweep, from the store alone: a static site, JSON, and a table for the terminal.

It must not know how sweeps are run, and sends no request. Files of the site:

index.html           totals, new and gone findings, failures, all images
images/*.html        the report of each image
secrets.html         all secrets; secrets/*.html: each secret with the images that hold it
layers.html          layers that added secrets, those with most tags first
sweeps.html          trends
csv/*.csv            every table

`site_paths` names the files, `view` joins the answers of the store, `charts` draws, `pages` renders, `export` writes
the tables, `site` manages the folder, `publish` drives them.
"""
