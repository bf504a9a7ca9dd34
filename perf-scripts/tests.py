"""Tests of this folder: `python3 perf-scripts/tests.py`. Standard library only."""

import math
import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import flame_graph
import interval
import matrix_table

HERE = Path(__file__).resolve().parent

CORE = "sys/devices/system/cpu"
# What a machine with four cores says; of several words the kernel puts the current one in brackets.
MACHINE = {
    f"{CORE}/online": "0-3\n",
    f"{CORE}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CORE}/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "proc/sys/kernel/numa_balancing": "1\n",
    "proc/sys/net/core/somaxconn": "65535\n",
    "proc/sys/net/ipv4/tcp_max_syn_backlog": "512\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/irq/default_smp_affinity": "0000000f\n",
    "proc/irq/24/smp_affinity_list": "0-3\n",
    "proc/irq/25/smp_affinity_list": "3\n",
}
# What of it is to become different, and how.
TUNED = {
    f"{CORE}/cpu0/cpufreq/scaling_governor": "performance",
    "sys/kernel/mm/transparent_hugepage/enabled": "madvise",
    "proc/sys/kernel/numa_balancing": "0",
    "proc/sys/net/ipv4/tcp_max_syn_backlog": "8192",
    "proc/sys/net/ipv4/ip_local_port_range": "16384 60999",
    "proc/irq/default_smp_affinity": "00000008",
    "proc/irq/24/smp_affinity_list": "3",
}
FOUND = {
    "sys/kernel/mm/transparent_hugepage/enabled": "always",
    "proc/sys/net/ipv4/ip_local_port_range": "32768 60999",
}


class Tuning(unittest.TestCase):
    """`tune` against a folder with copies of /sys and /proc."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "root"
        self.saved = Path(folder.name) / "state" / "tuned"
        for name, text in MACHINE.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)

    def tune(self, *words: str, status: int = 0) -> str:
        ran = subprocess.run(
            [HERE / "tune", *words, "--saved", self.saved],
            env={"PATH": "/usr/bin:/bin", "WARREN_TUNE_ROOT": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.assertEqual(ran.returncode, status, ran.stdout)
        return ran.stdout

    def machine(self) -> dict[str, str]:
        return {name: (self.root / name).read_text() for name in MACHINE}

    def test_a_dry_run_says_everything_and_does_nothing(self) -> None:
        said = self.tune("apply", "--dry-run")
        self.assertEqual(self.machine(), MACHINE)
        self.assertFalse(self.saved.exists())
        for name, value in TUNED.items():
            self.assertRegex(said, rf"would set /{name}: .* -> {value} \(")
        self.assertIn(f"{len(TUNED)} to change, 0 refused", said)

    def test_what_is_applied_is_undone(self) -> None:
        self.tune("apply")
        tuned = {**{name: text.strip() for name, text in MACHINE.items()}, **TUNED}
        self.assertEqual({name: text.strip() for name, text in self.machine().items()}, tuned)
        said = self.tune("undo", "--dry-run")
        self.assertIn("/proc/irq/24/smp_affinity_list: 3 -> 0-3", said)
        self.assertTrue(self.saved.exists())
        self.tune("undo")
        found = {**{name: text.strip() for name, text in MACHINE.items()}, **FOUND}
        self.assertEqual({name: text.strip() for name, text in self.machine().items()}, found)
        self.assertFalse(self.saved.exists())

    def test_what_was_found_is_not_lost_by_a_second_time(self) -> None:
        self.tune("apply")
        saved = self.saved.read_text()
        self.assertIn("tuned already", self.tune("apply", status=1))
        self.assertEqual(self.saved.read_text(), saved)
        self.tune("undo")
        self.assertIn("nothing to undo", self.tune("undo", status=1))

    def test_what_the_kernel_refuses_stays_and_the_rest_is_done(self) -> None:
        # A file that can be read, and by nobody be written.
        refusing = self.root / "proc/irq/24/smp_affinity_list"
        refusing.unlink()
        refusing.symlink_to("/proc/sys/kernel/ngroups_max")
        said = self.tune("apply")
        self.assertIn("smp_affinity_list: stays 65536", said)
        self.assertIn(f"{len(TUNED)} to change, 1 refused", said)
        self.assertEqual((self.root / "proc/irq/default_smp_affinity").read_text(), "00000008\n")
        self.tune("undo")

    def test_what_cannot_be_put_back_is_kept(self) -> None:
        self.tune("apply")
        refusing = self.root / "proc/irq/24/smp_affinity_list"
        refusing.unlink()
        refusing.symlink_to("/proc/sys/kernel/ngroups_max")
        (self.root / "proc/sys/kernel/numa_balancing").unlink()
        said = self.tune("undo", status=1)
        self.assertIn("/proc/sys/kernel/numa_balancing is not there any more", said)
        self.assertEqual(self.saved.read_text(), "/proc/irq/24/smp_affinity_list\t0-3\n")

    def test_interrupts_go_where_no_shard_is(self) -> None:
        for shards, mask in (("1-3", "00000001"), ("0,2", "0000000a"), ("0-3", None)):
            said = self.tune("apply", "--dry-run", "--shards", shards)
            if mask:
                self.assertIn(f"default_smp_affinity: 0000000f -> {mask}", said)
            else:
                self.assertNotIn("would set /proc/irq", said)
        (self.root / CORE / "online").write_text("0-33\n")
        said = self.tune("apply", "--dry-run")
        self.assertIn("default_smp_affinity: 0000000f -> 00000002,00000000", said)

    def test_a_wrong_command_line_is_told(self) -> None:
        for words in (["apply", "--shards", "some"], ["apply", "--fast"], ["sing"]):
            self.tune(*words, status=2)
        self.assertEqual(self.machine(), MACHINE)


SAMPLES = """\
shard-0 
\tffffffff8201 tcp_sendmsg ([kernel.kallsyms])
\tffffffff8101 entry_SYSCALL_64 ([kernel.kallsyms])
\t101829 syscall (/usr/lib/x86_64-linux-gnu/libc.so.6)
\tc60 warren_net::reactor::send::<impl warren_net::reactor::Reactor>::flush::h0123456789abcdef (/bin/warren)
\tffffffffffffffff [unknown] ([unknown])

shard-0 
\td98 warren_core::shard::Shard::turn (/bin/warren)
\t77 [unknown] (/bin/warren)

shard-0 
\td98 warren_core::shard::Shard::turn (/bin/warren)
\t77 [unknown] (/bin/warren)
"""


class FlameGraph(unittest.TestCase):
    def setUp(self) -> None:
        self.counts = Counter(flame_graph.stacks(SAMPLES.splitlines(keepends=True)))

    def test_stacks_are_folded_from_the_root(self) -> None:
        self.assertEqual(
            flame_graph.folded(self.counts),
            "shard-0;[warren];warren_core::shard::Shard::turn 2\n"
            "shard-0;warren_net::reactor::send::Reactor::flush;syscall;"
            "entry_SYSCALL_64_[k];tcp_sendmsg_[k] 1\n",
        )

    def test_the_table_tells_kernel_from_user(self) -> None:
        table = flame_graph.table(self.counts)
        self.assertIn("3 samples: 33.3 % kernel, 66.7 % user", table)
        self.assertRegex(table, r"66\.7 % +66\.7 %  warren_core::shard::Shard::turn\n")
        self.assertRegex(table, r"33\.3 % +33\.3 %  tcp_sendmsg \(kernel\)\n")

    def test_the_picture_is_well_formed_and_frames_are_as_wide_as_their_share(self) -> None:
        picture = ElementTree.fromstring(flame_graph.picture(self.counts, "a < b"))
        frames = [frame for frame in picture.iter() if frame.get("class") == "frame"]
        widths = {frame.get("data-name"): frame[1].get("width") for frame in frames}
        self.assertEqual(widths["all"], "1200.00")
        self.assertEqual(widths["[warren]"], "800.00")
        self.assertEqual(widths["tcp_sendmsg (kernel)"], "400.00")

    def test_what_is_no_output_of_perf_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            list(flame_graph.stacks(["shard-0\n", "\tno frame\n"]))


def run(side: str, cpu: float | None) -> dict:
    names = [name for name in interval.FIGURES if name != "server_cpu_us_per_user_s"]
    return {"side": side, "server_cpu_us_per_user_s": cpu, **dict.fromkeys(names)}


class Intervals(unittest.TestCase):
    def test_pairs_are_compared_whichever_came_first(self) -> None:
        runs = [run("old", 10), run("new", 9), run("new", 8), run("old", 10)]
        runs += [run("old", None), run("new", 5), run("old", 5), run("new", None)]
        self.assertEqual(interval.ratios(runs, "server_cpu_us_per_user_s"), [0.9, 0.8])

    def test_the_interval_is_student_s_of_the_logarithms(self) -> None:
        # By hand: logarithms 0 and 2 ln 2, deviation 2 ln 2 / sqrt 2, times 12.706 / sqrt 2.
        found = interval.interval([1, 4])
        assert found
        self.assertAlmostEqual(found.mean, 2)
        self.assertAlmostEqual(math.log(found.high / found.mean), 12.706 * math.log(2))
        self.assertAlmostEqual(found.low * found.high, 4)
        self.assertIsNone(interval.interval([1.5]))

    def test_only_an_interval_beside_one_shows_a_difference(self) -> None:
        for ratios, verdict in (
            ([0.9, 0.91, 0.9], "less"),
            ([1.1, 1.11, 1.1], "more"),
            ([0.9, 1.1, 0.95], "no difference shown"),
        ):
            found = interval.interval(ratios)
            assert found
            self.assertEqual(found.verdict(), verdict)

    def test_the_report_has_a_line_for_each_figure(self) -> None:
        runs = [run("old", 10), run("new", 9), run("new", 9.1), run("old", 10)]
        report = interval.report({"runs": runs})
        self.assertRegex(report, r"CPU per user and second +0\.9050 .* 2  ")
        self.assertEqual(report.count("too few pairs"), 3)


def measured(shards: int, users: int, cpu: float | None, verdict: str = "pass") -> dict:
    return {
        "shards": shards,
        "users": users,
        "server_cpu_us_per_user_s": cpu,
        "floor_ratio": None,
        "latency_us": {"p50": 500, "p99": 4000},
        "server_cpu_cores": 0.5,
        "generator_cpu": 0.25,
        "verdict": verdict,
        "reasons": [] if verdict == "pass" else ["too slow"],
    }


class Matrix(unittest.TestCase):
    def test_runs_of_a_size_are_a_cell(self) -> None:
        reports = [measured(2, 1000, 30), measured(1, 1000, 20), measured(1, 1000, 24, "fail")]
        rows = matrix_table.rows([*reports, measured(1, 64, None)])
        sizes = [(row["shards"], row["users"], row["runs"]) for row in rows]
        self.assertEqual(sizes, [(1, 64, 1), (1, 1000, 2), (2, 1000, 1)])
        self.assertIsNone(rows[0]["server_cpu_us_per_user_s"])
        self.assertEqual(rows[1]["server_cpu_us_per_user_s"], {"median": 22, "min": 20, "max": 24})
        self.assertEqual((rows[1]["verdict"], rows[1]["reasons"]), ("fail", ["too slow"]))

    def test_the_table_has_a_line_for_each_cell(self) -> None:
        rows = matrix_table.rows([measured(1, 64, 20), measured(1, 64, 30, "fail")])
        table = matrix_table.table(rows)
        self.assertRegex(table, r" 1 +64 +25\.00 +- +0\.50 +4\.00 .* fail, us/user/s 20\.00 to 30\.00")
        self.assertTrue(table.endswith(" in 2 runs\n" + 16 * " " + "too slow\n"))


if __name__ == "__main__":
    unittest.main()
