"""Executes notebooks from top to bottom with the kernel `simvae` and saves them with their outputs.

    python notebooks/execute.py [--into FOLDER] NOTEBOOK…        (make notebooks)

Each runs in an empty folder of its own. Nothing is saved of a notebook in which a cell fails: its error is printed, and
the exit code is 1. What changes from run to run without a reason (times of execution, the version of Python) is left
out. `--into` saves copies in a folder, in place of the notebooks.
"""

import argparse
import os
import sys
import tempfile
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

KERNEL = {"display_name": "simvae (Lua 5.4)", "language": "lua", "name": "simvae"}
LANGUAGE = {"file_extension": ".lua", "mimetype": "text/x-lua", "name": "lua", "version": "5.4"}
PATIENCE = 600  # seconds for a cell


def execute(notebook):
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=PATIENCE, kernel_name=KERNEL["name"], record_timing=False,
                       resources={"metadata": {"path": folder}}).execute()


def clean(notebook):
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})


def save(notebook, path):
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    with open(path + ".tmp", "w", encoding="utf-8", newline="\n") as file:
        file.write(text.rstrip("\n") + "\n")
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description="Executes notebooks with the kernel simvae and saves them.")
    parser.add_argument("--into", help="folder of the executed copies; default: the notebooks are replaced")
    parser.add_argument("notebooks", nargs="+")
    given = parser.parse_args()
    failed = False
    for path in given.notebooks:
        start = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        try:
            execute(notebook)
        except CellExecutionError as error:
            print("%s: %s" % (path, error), file=sys.stderr)
            failed = True
            continue
        clean(notebook)
        save(notebook, os.path.join(given.into, os.path.basename(path)) if given.into else path)
        print("%s: %.1f s" % (path, time.monotonic() - start), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
