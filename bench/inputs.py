"""What is pushed: corpora of several versions (bench/corpora), and trees that are made here from fixed seeds."""

import os
import random
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REAL_QUICK = ("airports-csv", "simple-icons", "timezonefinder")
REAL = (*REAL_QUICK, "mmdb-city", "projdb-sqlite", "iconify-json")
WORDS = tuple(f"{prefix}{number}" for number in range(500) for prefix in ("alpha", "beta", "gamma", "delta"))
NEEDED = ("numpy", "pyarrow>=21", "lmdb", "rocksdict")


def real(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Fetch the real corpora that are not there yet; return their folders."""
    missing = [name for name in names if not (folder / name / "v1").is_dir()]
    if missing:
        env = {**os.environ, "PYTHON": sys.executable}
        subprocess.run([HERE / "corpora" / "fetch.sh", folder, *missing], check=True, env=env)
    return [folder / name for name in names]


def synthetic(folder: Path, scale: float) -> list[Path]:
    """Make the synthetic corpora unless they are there; return their folders."""
    _make(folder, "--scale", str(scale))
    return sorted(path for path in folder.iterdir() if (path / "v1").is_dir())


def database(folder: Path) -> Path:
    """Make the first version of the synthetic SQLite database in full size, 347 MB; return its folder."""
    _make(folder, "--only", "s1-sqlite", "--versions", "1")
    return folder / "s1-sqlite" / "v1"


def _make(folder: Path, *options: str) -> None:
    done = folder / ".complete"
    if not done.exists():
        venv = folder.parent / "venv"
        if not (venv / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin" / "pip", "install", "--quiet", *NEEDED], check=True)
            (venv / "ready").touch()
        program = HERE / "corpora" / "make_synthetic.py"
        subprocess.run([venv / "bin" / "python", program, folder, *options], check=True)
        done.touch()


def versions_of(corpus: Path) -> list[Path]:
    """Return the versions of a corpus, oldest first."""
    return sorted(corpus.glob("v*"), key=lambda path: int(path.name[1:]))


def small_files(folder: Path, count: int, *, low: int, high: int) -> Path:
    """Make a tree of `count` files of `low` to `high` bytes, half of them text, in folders of about 100."""
    done = folder.with_name(folder.name + ".complete")
    if done.exists():
        return folder
    rng = random.Random(count)
    for start in range(0, count, 100):
        below = folder / f"{start // 5000:03d}" / f"{start // 100 % 50:02d}"
        below.mkdir(parents=True, exist_ok=True)
        for number in range(start, min(start + 100, count)):
            size = rng.randint(low, high)
            if rng.random() < 0.5:
                data = rng.randbytes(size)
            else:
                data = " ".join(rng.choices(WORDS, k=size // 5)).encode()[:size].ljust(size, b".")
            (below / f"file-{number:06d}.dat").write_bytes(data)
    done.touch()
    return folder
