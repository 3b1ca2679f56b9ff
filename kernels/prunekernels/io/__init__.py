"""What all products share without being tensors: how to read what strangers send, and how to write what stays.

    paths           a name or path out of a file, regular files of a bounded size
    streams         lines and bytes of streams whose decoded size nobody knows
    json_files      JSON, strictly, and its fields by their kinds; yaml_files: YAML without anchors
    checkpoint      model folders: weights, config, identity; module_folders: those of sentence-transformers
    model_loading   transformers' models out of them, complete and without code
    outputs         files and folders that appear whole and cost nobody a file
                    (marks: what is ours; staging: where they are made, leftovers; renames: one step, on disk)
    escape          text for terminals, HTML and Markdown; a page's content security policy
    errors          one line and an exit code for the three command lines

Standard library alone at the top of each file; what a file needs beside it is imported in its functions.
"""
