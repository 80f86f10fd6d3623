"""Are promises kept on queries that were not seen? BFCL, three models by list price, 40 random halves. No gate."""

from pathlib import Path

import pytest

from tests.integration import test_realdata_optimizer as small

pytestmark = [pytest.mark.bench, pytest.mark.realdata]
evaluation = small.evaluation


def test_promises_on_forty_halves(evaluation: small.Evaluation, tmp_path: Path) -> None:
    saving, accuracy, moves, above = small.kept(evaluation, tmp_path, range(40))
    print(f"\n  of 40 halves kept: saving {saving}, change of accuracy {accuracy} (limit 32 each)")
    print(f"  {moves} moves, impact above its 95 % end: {above} ({100 * above / max(moves, 1):.1f} %, nominal 5 %)")
