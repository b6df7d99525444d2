"""docs/grpc.md says what the service's methods, codes and bounds are."""

from grpc import StatusCode

from gateway.operations.pages import LARGEST_PAGE, PAGE_SIZE
from gateway.rpc import limits
from gateway.rpc.codes import CODES
from gateway.rpc.methods import METHODS
from gateway.rpc.service import NAME, READ_FILE
from tests.unit.docs.pages import rows, section, text

PAGE = "docs/grpc.md"


def test_every_method_has_its_row() -> None:
    shown = [row[0].strip("`") for row in rows(text(PAGE)) if len(row) == 3]
    assert shown == [*(method.name for method in METHODS), READ_FILE]
    assert f"`{NAME}`" in text(PAGE)


def test_every_code_is_told() -> None:
    told = {row[0].strip("`") for row in rows(section(PAGE, "Codes"))}
    assert told == {code.name for code in CODES.values()}
    assert all(StatusCode[name] for name in told)


def test_bounds_on_the_page_are_those_of_the_code() -> None:
    page = " ".join(section(PAGE, "Bounds").split())
    for bound in (
        f"up to {limits.LARGEST_REQUEST:,} bytes",
        f"up to {limits.LARGEST_METADATA >> 10} KiB",
        f"up to {limits.CONNECTIONS:,} connections, {limits.CALLS_A_CONNECTION} calls on each",
        f"answers {limits.CALLS} calls, of which {limits.READS} may read files; {limits.THREADS} of them ask",
        f"and {limits.DOORS} others find out who asks",
        f"does not come in {limits.BEGIN_S:.0f} s, whose answer is not taken in {limits.END_S:.0f} s",
        f"nothing is taken for {limits.STALLED_S:.0f} s",
        f"after {limits.IDLE_S / 60:.0f} minutes",
    ):
        assert bound in page, bound
    page = " ".join(section(PAGE, "Conditions, pages, files").split())
    assert f"({PAGE_SIZE} if not given, {LARGEST_PAGE:,} at most)" in page
    assert f"at most {limits.PIECE:,} bytes" in page


def test_the_page_is_found() -> None:
    for other in ("README.md", "docs/operations.md", "docs/security.md"):
        assert "grpc.md" in text(other)
