#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Make results.csv, waits.csv, table.txt and plots from the logs of the benchmark.

usage: report.py OUT LOG...    each log has one round of one program, and is called ROUND.PROGRAM.log
"""
import collections
import csv
import os
import re
import shutil
import statistics
import subprocess
import sys

IMPLS = ["lockmap", "floor", "handrolled", "bitlock", "rwsem", "striped", "global", "tbb", "pthread"]
HOST = ["tbb", "pthread"]
BUILDS = ["uml-up", "uml-smp", "host"]
KEYS = 65536

Row = collections.namedtuple("Row", "op threads keys")


def read(logs):
    """Return {(row, impl, build): {round: [values]}}, {(row, impl, build): {from: count}}, {build: barriers}."""
    barriers = {}
    results = collections.defaultdict(lambda: collections.defaultdict(list))
    waits = collections.defaultdict(lambda: collections.defaultdict(int))
    for path in logs:
        round_nr = int(os.path.basename(path).split(".")[0])
        with open(path, errors="replace") as log:
            for line in log:
                found = re.search(r"bench: (result|waits|barriers) (.*)", line)
                if not found:
                    continue
                if found.group(1) == "barriers":
                    build, text = found.group(2).strip().split(" ", 1)
                    barriers[build] = text
                    continue
                op, threads, keys, impl, build, *values = found.group(2).split()
                cell = Row(op, int(threads), int(keys)), impl, build
                if found.group(1) == "result":
                    results[cell][round_nr].append(float(values[0]))
                else:
                    waits[cell][int(values[0])] += int(values[1])
    return results, waits, barriers


def all_values(rounds):
    return [value for values in rounds.values() for value in values]


def ratio(ours, theirs):
    """Our median divided by theirs in each round, where both were measured close together; the median of those."""
    ratios = [statistics.median(ours[r]) / statistics.median(theirs[r])
              for r in ours if r in theirs and statistics.median(theirs[r]) > 0]
    return statistics.median(ratios) if ratios else None


def write_csv(out, results, waits):
    with open(os.path.join(out, "results.csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("op threads keys impl build ns_median ns_min ns_max".split())
        for (row, impl, build), rounds in results.items():
            values = all_values(rounds)
            writer.writerow([*row, impl, build] + ["%.3f" % v for v in (
                statistics.median(values), min(values), max(values))])
    with open(os.path.join(out, "waits.csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("op threads keys impl build ns_from count".split())
        for (row, impl, build), counts in waits.items():
            for ns in sorted(counts):
                writer.writerow([*row, impl, build, ns, counts[ns]])


def cell_of(results, row, impl, build):
    return results.get((row, impl, "host" if impl in HOST else build))


def number(value):
    return "%.1f" % value if value < 99.95 else "%.0f" % value


def table(results, build):
    """Return a line for each row: the figures, and behind each rival's figure lockmap's time divided by its time."""
    rows = [row for row, impl, b in results if impl == "lockmap" and b == build]
    lines = []
    for row in rows:
        ours = results[row, "lockmap", build]
        name = row.op if row.keys == KEYS else "%s %s" % (row.op, size(row.keys))
        line = "%-24s %4d %8s" % (name, row.threads, number(statistics.median(all_values(ours))))
        for impl in IMPLS[1:]:
            theirs = cell_of(results, row, impl, build)
            if theirs:
                by = ratio(ours, theirs)
                line += "  %8s %5s" % (number(statistics.median(all_values(theirs))),
                                      "-" if by is None else "%.2f" % by if by < 99 else ">99")
            else:
                line += "  %8s %5s" % ("", "")
        lines.append(line.rstrip())
    return lines


def size(keys):
    return "%d Mi" % (keys >> 20) if keys >= 1 << 20 else "%d Ki" % (keys >> 10)


def heading():
    line = "%-24s %4s %8s" % ("", "T", "lockmap")
    for impl in IMPLS[1:]:
        line += "  %-14s" % impl.rjust(8)
    return line.rstrip()


ABOUT = """ns per operation: wall time divided by the operations of all T threads; medians of all samples. The number behind
each rival's figure is lockmap's time divided by the rival's: below 1, lockmap is faster. It is the median of the
ratios of all rounds. Rows with -p999 and -max are waits for a key in ns, rows with bytes are bytes per key. reader,
readers and readers-writer are the time that a reader takes for a hold of 5 ms; their waits are the writer's. unlock-b is
an unlock with one waiter while T tasks wait for another key. Maps have 64 Ki keys unless the row says otherwise. tbb and pthread are programs that run on the host."""

TITLES = {
    "uml-up": "User Mode Linux without SMP (no system calls for interrupt flags, no lock prefixes)",
    "uml-smp": "User Mode Linux with SMP (an insertion or removal is ten times slower than on hardware)",
    "x86": "a real x86-64 kernel",
}


def write_table(out, results, barriers):
    text = [ABOUT]
    for build, title in TITLES.items():
        lines = table(results, build)
        if lines:
            text += ["", title, "Barriers " + barriers.get(build, "are not known"), heading()] + lines
    with open(os.path.join(out, "table.txt"), "w") as file:
        file.write("\n".join(text) + "\n")


#
# Plots
#

HEAD = """set terminal svg size {width},{height} dynamic background rgb 'white' font 'sans,11'
set output '{path}'
set multiplot layout {layout} title "{title}"
set key below samplen 1.5 font ',9'
set grid
"""


def gnuplot(out, name, script):
    path = os.path.join(out, name + ".gnuplot")
    with open(path, "w") as file:
        file.write(script)
    subprocess.run(["gnuplot", path], check=True)


def block(name, points):
    return "$%s << EOD\n%s\nEOD\n" % (name, "\n".join("%s %s" % p for p in points))


def panels(out, name, title, layout, axes, charts):
    """Plot several charts side by side. charts: [(title, [(line title, points)])]"""
    columns = int(layout.split(",")[1])
    script = HEAD.format(width=420 * columns, height=340 * int(layout.split(",")[0]), layout=layout,
                         path=os.path.join(out, name + ".svg"), title=title) + axes
    for i, (chart_title, lines) in enumerate(charts):
        for n, (_, points) in enumerate(lines):
            script += block("d%d_%d" % (i, n), points)
        script += 'set title "%s"\n' % chart_title
        script += "plot " + ", ".join('$d%d_%d with linespoints lw %d pt 7 ps 0.4 title "%s"' % (
            i, n, 3 if line == "lockmap" else 1, line) for n, (line, _) in enumerate(lines)) + "\n"
    if charts:
        gnuplot(out, name, script + "unset multiplot\n")


def medians(results, op, build, impls, by):
    lines = []
    for impl in impls:
        points = []
        for (row, i, b), rounds in results.items():
            if row.op == op and i == impl and b == ("host" if impl in HOST else build):
                x = by(row)
                if x is not None:
                    points.append((x, statistics.median(all_values(rounds))))
        if len(points) > 1:
            lines.append((impl, sorted(points)))
    return lines


def plot_threads(out, results):
    charts = []
    for op in ["get-hit", "lock-present", "lock-absent", "insert-remove", "hot-1", "hot-8"]:
        lines = medians(results, op, "uml-smp", IMPLS,
                        lambda row: row.threads if row.keys == KEYS else None)
        if lines:
            charts.append((op, lines))
    panels(out, "threads", "ns per operation against threads (User Mode Linux with SMP; host)", "2,3",
           "set logscale xy 2\nset logscale y 10\nset xlabel 'threads'\nset ylabel 'ns'\n", charts)


def plot_sizes(out, results):
    charts = []
    for op in ["get-hit", "lock-present"]:
        lines = medians(results, op, "uml-up", IMPLS,
                        lambda row: row.keys if row.threads == 1 else None)
        if lines:
            charts.append((op, lines))
    panels(out, "sizes", "ns per operation against keys in the map (User Mode Linux without SMP; host)",
           "1,2", "set logscale x 2\nset format x '%.0b %B'\nset xlabel 'keys'\nset ylabel 'ns'\n", charts)


def exceeding(counts):
    """Return points (ns, part of the waits that are at least that long)."""
    left = total = sum(counts.values())
    points = []
    for ns in sorted(counts):
        points.append((max(ns, 1), left / total))
        left -= counts[ns]
    return points


def plot_waits(out, waits):
    charts = []
    for threads in [2, 8]:
        for op in ["hold-0", "hold-1", "hold-50"]:
            lines = [(impl, exceeding(counts)) for impl in IMPLS for (row, i, _), counts in waits.items()
                     if i == impl and row.op == op and row.threads == threads]
            if lines:
                charts.append(("%s, %d threads" % (op, threads), lines))
    panels(out, "waits", "Part of the waits for one key that take longer (hold-N: held for N us)", "2,3",
           "set logscale xy\nset xlabel 'ns'\n", charts)


def main():
    out, logs = sys.argv[1], sys.argv[2:]
    results, waits, barriers = read(logs)
    if not results:
        sys.exit("report.py: no results in these logs")
    write_csv(out, results, waits)
    write_table(out, results, barriers)
    if shutil.which("gnuplot"):
        plot_threads(out, results)
        plot_sizes(out, results)
        plot_waits(out, waits)


main()
