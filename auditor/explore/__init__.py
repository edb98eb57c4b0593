"""Full-screen terminal view of an audit: layers, file trees, secrets, previews. Needs the extra `explore` (Textual).

cli/explore.py ─► app.py ─► file_view.py, screens.py   widget of a file tree, dialogs
                       ├──► texts.py                 lines for layers, files and secrets
                       └──► file_contents.py         previews and recovered files, without Textual
"""
