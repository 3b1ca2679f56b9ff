"""An output folder of two files, as one command of ours writes it."""

from pathlib import Path

from prunekernels.io.outputs import atomic_folder

KIND = "test output"


def write(out: Path, text: str = "new", overwrite: bool = False, kind: str = KIND) -> None:
    with atomic_folder(out, kind, overwrite=overwrite) as folder:
        (folder / "kept.txt").write_text(text)
        (folder / "images").mkdir()
        (folder / "images" / "1.png").write_text(text)
