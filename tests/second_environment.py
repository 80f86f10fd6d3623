"""``python -m tests.second_environment FOLDER`` lets an environment see this one's packages, behind its own."""

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def extend(environment: Path) -> None:
    """Write the file by which the other environment finds this checkout and this environment's packages."""
    (folder,) = environment.glob("lib/python3*/site-packages")
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # the packages of this one may themselves come from further folders
    further = {path for path in sys.path if Path(path).name == "site-packages"}
    folder.joinpath("beside.pth").write_text("\n".join([str(ROOT), *sorted(here | further)]) + "\n")


if __name__ == "__main__":
    extend(Path(sys.argv[1]))
