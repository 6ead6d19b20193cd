"""The limits of control groups, read from made trees of files; no process."""

from __future__ import annotations

from pathlib import Path

import pytest

from procorch._cgroups import Limit, cpu_quotas, memory_limits

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct"
OTHER = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd"
DISK = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


class Tree:
    """A root folder of one's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, groups: list[str], mounts: list[str]) -> None:
        self.write("/proc/self/cgroup", "".join(f"{line}\n" for line in groups))
        self.write("/proc/self/mountinfo", "".join(f"{line}\n" for line in [DISK, *mounts]))

    def v1(self, folder: str, quota: object, period: object = 100000) -> None:
        self.write(f"{folder}/cpu.cfs_quota_us", f"{quota}\n")
        self.write(f"{folder}/cpu.cfs_period_us", f"{period}\n")

    def quotas(self) -> list[Limit]:
        return cpu_quotas(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_system_without_such_files_has_no_limit(tree: Tree) -> None:
    assert tree.quotas() == []
    assert memory_limits(tree.root) == []


def test_a_quota_of_version_2(tree: Tree) -> None:
    tree.process(["0::/user.slice/batch"], [V2])
    tree.write("/sys/fs/cgroup/user.slice/batch/cpu.max", "150000 100000\n")
    assert tree.quotas() == [Limit(1.5, 2, "/user.slice/batch")]


def test_every_level_counts_from_the_own_group_to_the_root(tree: Tree) -> None:
    tree.process(["0::/a/b/c"], [V2])
    tree.write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n")
    tree.write("/sys/fs/cgroup/a/b/cpu.max", "300000 100000\n")
    tree.write("/sys/fs/cgroup/a/cpu.max", "50000 200000\n")
    tree.write("/sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert tree.quotas() == [Limit(3.0, 2, "/a/b"), Limit(0.25, 2, "/a"), Limit(4.0, 2, "/")]


def test_what_is_set_for_other_groups_does_not_count(tree: Tree) -> None:
    tree.process(["0::/a"], [V2])
    tree.write("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n")
    tree.write("/sys/fs/cgroup/ab/cpu.max", "100000 100000\n")
    assert tree.quotas() == []


@pytest.mark.parametrize("text", ["max 100000", "", "0 100000", "-1 100000", "1e5 100000", "100000 0", "much\n"])
def test_what_is_no_limit_in_version_2(tree: Tree, text: str) -> None:
    tree.process(["0::/a"], [V2])
    tree.write("/sys/fs/cgroup/a/cpu.max", text)
    assert tree.quotas() == []


def test_a_quota_without_a_period_is_of_the_usual_one(tree: Tree) -> None:
    tree.process(["0::/a"], [V2])
    tree.write("/sys/fs/cgroup/a/cpu.max", "200000\n")
    assert tree.quotas() == [Limit(2.0, 2, "/a")]


def test_a_quota_of_version_1(tree: Tree) -> None:
    tree.process(["4:memory:/m", "3:cpu,cpuacct:/docker/abc", "1:name=systemd:/x"], [OTHER, V1])
    tree.v1("/sys/fs/cgroup/cpu,cpuacct/docker/abc", 250000)
    tree.v1("/sys/fs/cgroup/cpu,cpuacct/docker", 100000, 50000)
    tree.v1("/sys/fs/cgroup/cpu,cpuacct", -1)
    assert tree.quotas() == [Limit(2.5, 1, "/docker/abc"), Limit(2.0, 1, "/docker")]


@pytest.mark.parametrize(("quota", "period"), [(-1, 100000), (0, 100000), (100000, 0), ("", ""), (100000, "")])
def test_what_is_no_limit_in_version_1(tree: Tree, quota: object, period: object) -> None:
    tree.process(["3:cpu,cpuacct:/a"], [V1])
    tree.v1("/sys/fs/cgroup/cpu,cpuacct/a", quota, period)
    assert tree.quotas() == []


def test_cpuset_and_cpuacct_are_not_taken_for_cpu(tree: Tree) -> None:
    mount = "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset"
    tree.process(["3:cpuset:/a", "2:cpuacct:/a"], [mount])
    tree.v1("/sys/fs/cgroup/cpuset/a", 100000)
    assert tree.quotas() == []


def test_a_hybrid_system_has_both(tree: Tree) -> None:
    unified = V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    tree.process(["3:cpu,cpuacct:/one", "1:name=systemd:/two", "0::/two"], [V1, OTHER, unified])
    tree.v1("/sys/fs/cgroup/cpu,cpuacct/one", 300000)
    tree.write("/sys/fs/cgroup/unified/two/cpu.max", "200000 100000")
    assert sorted(limit.amount for limit in tree.quotas()) == [2.0, 3.0]


def test_a_container_with_a_namespace_sees_its_group_as_the_root(tree: Tree) -> None:
    tree.process(["0::/"], [V2])
    tree.write("/sys/fs/cgroup/cpu.max", "50000 100000\n")
    assert tree.quotas() == [Limit(0.5, 2, "/")]


def test_a_container_without_a_namespace_has_its_own_group_mounted(tree: Tree) -> None:
    mount = V1.replace(" / /sys", " /docker/abc /sys")
    tree.process(["3:cpu,cpuacct:/docker/abc/inner"], [mount])
    tree.v1("/sys/fs/cgroup/cpu,cpuacct/inner", 300000)
    tree.v1("/sys/fs/cgroup/cpu,cpuacct", 200000)
    assert tree.quotas() == [Limit(3.0, 1, "/inner"), Limit(2.0, 1, "/")]


@pytest.mark.parametrize(
    ("group", "root"),
    [("/docker/abc", "/docker/xyz"), ("/", "/../.."), ("/../other", "/"), ("/docker/abc", "/docker/ab")],
)
def test_a_group_that_is_not_below_what_is_mounted_has_the_limits_of_that(tree: Tree, group: str, root: str) -> None:
    tree.process([f"0::{group}"], [V2.replace(" / /sys", f" {root} /sys")])
    tree.write("/sys/fs/cgroup/cpu.max", "100000 100000\n")
    tree.write("/sys/fs/cgroup/other/cpu.max", "10000 100000\n")
    tree.write("/sys/fs/other/cpu.max", "10000 100000\n")
    assert tree.quotas() == [Limit(1.0, 2, "/")]


def test_of_several_mounts_the_one_counts_that_shows_most(tree: Tree) -> None:
    bound = V2.replace(" / /sys/fs/cgroup ", " /a/b /inner ")
    tree.process(["0::/a/b"], [bound, V2])
    tree.write("/inner/cpu.max", "400000 100000\n")
    tree.write("/sys/fs/cgroup/a/cpu.max", "100000 100000\n")
    assert tree.quotas() == [Limit(1.0, 2, "/a")]


def test_a_group_that_has_been_removed_leaves_those_above_it(tree: Tree) -> None:
    tree.process(["0::/a/gone (deleted)"], [V2])
    tree.write("/sys/fs/cgroup/a/cpu.max", "100000 100000\n")
    assert tree.quotas() == [Limit(1.0, 2, "/a")]


def test_blanks_colons_and_escapes_in_names(tree: Tree) -> None:
    tree.process(["0::/my group/a:b"], [V2.replace("/sys/fs/cgroup ", r"/sys/my\040place ")])
    tree.write("/sys/my place/my group/a:b/cpu.max", "100000 100000\n")
    assert tree.quotas() == [Limit(1.0, 2, "/my group/a:b")]


@pytest.mark.parametrize("line", ["", "nonsense", "0:", "0::", "::", "0::relative", "0:x:/a", "12:cpu"])
def test_lines_that_say_nothing_are_passed_over(tree: Tree, line: str) -> None:
    tree.process([line, "0::/a"], ["", "x - cgroup2", "1 2 3 4 5 6 - cgroup2 c rw", V2])
    tree.write("/sys/fs/cgroup/a/cpu.max", "100000 100000\n")
    assert tree.quotas() == [Limit(1.0, 2, "/a")]


def test_files_that_cannot_be_read_are_no_limit(tree: Tree) -> None:
    tree.process(["0::/a/b"], [V2])
    (tree.root / "sys/fs/cgroup/a/b/cpu.max").mkdir(parents=True)
    (tree.root / "sys/fs/cgroup/a/cpu.max").write_bytes(b"\xff\xfe")
    assert tree.quotas() == []
    tree.write("/proc/self/mountinfo", "")
    assert tree.quotas() == []


def test_limits_of_memory(tree: Tree) -> None:
    memory = V1.replace("cpu,cpuacct", "memory")
    tree.process(["5:memory:/a/b", "0::/c"], [V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified "), memory])
    tree.write("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n")
    tree.write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n")
    tree.write("/sys/fs/cgroup/unified/c/memory.max", "2000000\n")
    tree.write("/sys/fs/cgroup/unified/memory.max", "max\n")
    found = memory_limits(tree.root)
    assert set(found) == {Limit(1000000, 1, "/a"), Limit(2000000, 2, "/c")}
