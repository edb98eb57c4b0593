"""Full-screen terminal view of an audit: layers, file trees, secrets, previews. Needs the extra `explore` (Textual).

cli/explore.py ─► app.py ─► layer_list.py, file_view.py, secret_list.py, screens.py
                       └──► file_contents.py   previews and recovered files, without Textual
"""
