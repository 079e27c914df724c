"""What a whole cluster's folder must not show: keys and tokens in logs, or in files that others may read."""
import pathlib
import re
import stat

SECRET = re.compile(rb"PRIVATE KEY-----|client-key-data|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
MAX = 1 << 20  # disks and databases are no places for keys; the latter have their own test


def texts_of(folder: pathlib.Path):
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_size < MAX:
            yield file, file.read_bytes()


def found(folder: pathlib.Path) -> list[str]:
    """Each place where there is a secret that should not be there."""
    tokens = [line for line in (folder / "server/bootstrap-token").read_bytes().split() if line]
    wrong = []
    for file, text in texts_of(folder):
        name = file.relative_to(folder)
        if not SECRET.search(text) and not any(token in text for token in tokens):
            continue
        if name.parts[0] == "logs" or name.suffix == ".log":
            wrong.append(f"{name} tells a secret")
        elif stat.S_IMODE(file.stat().st_mode) & 0o77:
            wrong.append(f"{name} holds a secret, mode {stat.S_IMODE(file.stat().st_mode):04o}")
    return wrong
