import pytest

from dav.resolve import MAX_LINKS, resolve, split_scope
from store.errors import NotAFolder, PathMissing
from store.vfs.tree import Kind
from tests.support.trees import Link, MemoryTree


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "latest", {b"other": b"other state"})
    tree.publish(
        "geo",
        "1.0.0",
        {
            b"a.txt": b"a",
            b"near": Link(b"a.txt"),
            b"dir": {b"b.txt": b"b", b"up": Link(b"../a.txt"), b"dots": Link(b"./../dir//b.txt"), b"top": Link(b"..")},
            b"through": Link(b"dir/up"),
            b"folder": Link(b"dir/"),
            b"absolute": Link(b"/etc/passwd"),
            b"out": Link(b"../latest/other"),
            b"far-out": Link(b"dir/../../../../etc/passwd"),
            b"dangling": Link(b"nowhere"),
            b"self": Link(b"self"),
            b"ping": Link(b"pong"),
            b"pong": Link(b"ping"),
            b"below-file": Link(b"a.txt/../a.txt"),
            b"file-slash": Link(b"near/"),
            b"file-dot": Link(b"a.txt/."),
        },
    )
    return tree


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.txt", b"a"),
        ("near", b"a"),
        ("dir/up", b"a"),
        ("dir/dots", b"b"),
        ("through", b"a"),
        ("folder/b.txt", b"b"),
        ("folder/up", b"a"),
        ("folder/top/near", b"a"),
    ],
)
def test_links_inside_a_state_are_followed(tree: MemoryTree, path: str, content: bytes) -> None:
    found = resolve(tree, [b"geo", b"1.0.0", *path.encode().split(b"/")])
    assert b"".join(tree.read(found.node, 0, 100)) == content
    assert found.state == resolve(tree, [b"geo", b"1.0.0"]).node


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("absolute", PathMissing),
        ("out", PathMissing),
        ("far-out", PathMissing),
        ("dangling", PathMissing),
        ("self", PathMissing),
        ("ping", PathMissing),
        ("below-file", NotAFolder),
        ("file-slash", NotAFolder),
        ("file-dot", NotAFolder),
        ("..", PathMissing),
        (".", PathMissing),
        ("a.txt/x", NotAFolder),
        ("a\0b", PathMissing),
    ],
)
def test_what_leads_out_or_nowhere_does_not_exist(tree: MemoryTree, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        resolve(tree, [b"geo", b"1.0.0", *path.encode().split(b"/")])


def test_a_slash_inside_a_name_is_no_separator(tree: MemoryTree) -> None:
    with pytest.raises(PathMissing):
        resolve(tree, [b"geo", b"1.0.0", b"dir/b.txt"])


def test_chains_of_links_have_a_bound() -> None:
    def chain(length: int) -> MemoryTree:
        tree = MemoryTree()
        links = {b"%d" % i: Link(b"%d" % (i + 1)) for i in range(length)}
        tree.publish("geo", "1.0.0", {**links, b"%d" % length: b"end"})
        return tree

    assert resolve(chain(MAX_LINKS), [b"geo", b"1.0.0", b"0"]).node.kind is Kind.FILE
    with pytest.raises(PathMissing):
        resolve(chain(MAX_LINKS + 1), [b"geo", b"1.0.0", b"0"])


def test_a_scoped_dataset_in_one_segment_becomes_two_names() -> None:
    assert split_scope((b"@geo/roads", b"latest")) == (b"@geo", b"roads", b"latest")
    assert split_scope((b"@geo", b"roads")) == (b"@geo", b"roads")
    assert split_scope((b"geo/roads",)) == (b"geo/roads",)
