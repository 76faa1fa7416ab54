"""Cells measured in other processes by whole series: sizes in turns, alone on the machine; or cells two at a time.

Every record is on disk as soon as its process is done with it, whichever cell pytest waits for.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from benches.case import Point, name_of
from benches.measure import isolated
from benches.measure.records import Failed, Record, Status, fail, record_of
from benches.measure.stopwatch import Measurement, measure, outlived
from benches.suite.options import Options
from benches.terminal import show

Keep = Callable[[Record], None]
Say = Callable[[str], None]
Told = list[dict[str, Any]]
AT_A_TIME = 2
TIMING, RESERVE = 0.5, 0.05
"""Shares of the time of a run: that which is over when the last cell has taken its turns, and that of the report."""
PRELOADED = "market.rl.trainer"
"""What a process loads before it is copied for each cell."""


class Turns:
    """Series whose sizes take turns in several processes. All series of a case are in the first process before any is
    in the second, so that what differs from minute to minute differs within a series, too.

    known: records of the run that is resumed; a cell goes on after the processes that it has been in.
    limit: seconds that a series may take in one process.
    left: seconds that all rounds still to come may take; None for as many as the cases say.
    """

    def __init__(
        self,
        points: Sequence[Point],
        known: Mapping[str, Record],
        profile: str,
        keep: Keep,
        say: Say,
        limit: float = math.inf,
        left: Callable[[], float] | None = None,
    ) -> None:
        self.records: dict[str, Record] = {}
        self._points, self._profile, self._keep, self._say = points, profile, keep, say
        self._limit, self._left = limit, left
        self._seen = {point.key: Measurement() for point in points}
        for point in points:
            earlier = known.get(point.key)
            if earlier is not None and earlier.status == "ok":
                self._seen[point.key].take(earlier)
        self._processes: dict[int, isolated.Process] = {}  # by their number
        self._costs: dict[str, float] = {}  # seconds of a block, by series
        self._series = {p.key: name_of(p.case.name, p.params, (p.case.size,), words=True) for p in points}

    def measure(self, point: Point, seen: Measurement) -> None:
        """Wait until this cell, and all others of its case, have been in all processes; what was seen is in `seen`.

        Raises Unsupported, or Failed with what happened in one of them.
        """
        if point.key not in self.records:
            self._measure([each for each in self._points if each.case.name == point.case.name])
        record = self.records[point.key]
        seen.take(record)
        fail(record.status, record.error)

    def _measure(self, points: Sequence[Point]) -> None:
        groups: list[tuple[int, list[Point]]] = []
        for process in range(points[0].case.processes):
            series: dict[str, list[Point]] = {}
            for point in points:
                if len(self._seen[point.key].turns) <= process:
                    series.setdefault(self._series[point.key], []).append(point)
            groups += [(process, members) for members in series.values()]
        began, timed = time.monotonic(), 0.0
        for number, (process, members) in enumerate(groups):
            name, seconds = self._series[members[0].key], members[0].case.seconds
            if self._left is not None and math.isfinite(seconds) and process:  # the first one shows what there is
                spent = (time.monotonic() - began - timed) / number
                seconds = self._share(name, [self._series[each[0].key] for _, each in groups[number:]], spent)
            self._group(process, [point for point in members if point.key not in self.records], seconds)
            timed += seconds if math.isfinite(seconds) else 0.0
            rest = (time.monotonic() - began) / (number + 1) * (len(groups) - number - 1)
            if number + 1 < len(groups) > members[0].case.processes:
                self._say(f"{name}: process {process + 1} of {members[0].case.processes}, {show.clock(rest)} left")

    def _share(self, name: str, left: Sequence[str], fixed: float) -> float:
        """Seconds for the rounds of a series in one process, in proportion to what a block of it costs.

        left: the series of all processes still to come, this one first. fixed: seconds that go to each besides.
        """
        assert self._left is not None
        usual = statistics.fmean(self._costs.values()) if self._costs else 1.0
        weights = [self._costs.get(each, usual) for each in left]
        return max(0.0, self._left() - fixed * len(left)) * self._costs.get(name, usual) / sum(weights)

    def _group(self, process: int, members: Sequence[Point], seconds: float) -> None:
        """One series in one process; if a cell ends the process, the others take their turns in another one."""
        while members:
            if process not in self._processes:
                self._processes[process] = isolated.Process()
            lane = self._processes[process]
            try:
                told = lane.ask(members, self._limit, self._told(process, members), process=process, seconds=seconds)
            except Failed as error:
                culprit = members[lane.at or 0]
                self._stop(process)
                self._end(culprit, "failed", str(error))
                members = [point for point in members if point is not culprit]
            except BaseException:
                self._stop(process)
                raise
            else:
                for point, answer in zip(members, told, strict=True):
                    if answer["status"] == "ok":
                        self._seen[point.key].add(Measurement(**answer["seen"]))
                    self._end(point, answer["status"], answer["error"])
                cold = (answer["seen"]["warmup_seconds"] or 0.0 for answer in told)
                self._costs[self._series[members[0].key]] = sum(cold)
                return

    def _told(self, process: int, members: Sequence[Point]) -> Callable[[int], None]:
        """What says every few seconds which cell of a series has its turn."""
        tell, turns = show.now_and_then(self._say), itertools.count(1)
        case, where = members[0].case, f"{self._series[members[0].key]}: process {process + 1}"
        return lambda cell: tell(
            f"{where} of {case.processes}, turn {next(turns)}, {members[cell].size:,.0f} {case.size}"
        )

    def _end(self, point: Point, status: Status, error: str | None) -> None:
        """Keep what is known of a cell after a process."""
        seen = self._seen[point.key]
        missing = point.case.processes - len(seen.turns) if status == "ok" else 0
        record = record_of(point, seen, status=status, error=error, profile=self._profile, missing=missing)
        self._keep(record)
        if not missing:
            self.records[point.key] = record

    def _stop(self, process: int) -> None:
        self._processes.pop(process).stop()

    def close(self) -> None:
        """End the processes."""
        for process in list(self._processes):
            self._stop(process)


class LeftOut(Exception):
    """There was no time for a cell."""


class Beside:
    """Cells so many at a time, in the order that they are given, each in a process of its own, until `end`.

    What they yield counts and not their time. A cell is not begun that would not be over in time, as far as is known
    from others like it but for the seed.
    end: when the last cell should be over, on `time.monotonic`.
    """

    def __init__(
        self, points: Sequence[Point], profile: str, keep: Keep, end: float = math.inf, limit: float = math.inf
    ) -> None:
        self.records: dict[str, Record] = {}
        self._waiting, self._profile, self._keep, self._end, self._limit = list(points), profile, keep, end, limit
        self._running: dict[Future[Told], tuple[Point, isolated.Process]] = {}
        self._idle = [isolated.Process() for _ in range(AT_A_TIME)]
        self._threads = ThreadPoolExecutor(AT_A_TIME)
        self._known: dict[str, float] = {}

    def measure(self, point: Point, seen: Measurement) -> None:
        """Wait until this cell is over; what was seen is in `seen`. Raises Unsupported, Failed, or LeftOut."""
        while point.key not in self.records:
            self._start()
            if not self._running:
                raise LeftOut("no time was left; --resume goes on with it, --hours gives more from the start")
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                self._over(future)
        record = self.records[point.key]
        seen.take(record)
        fail(record.status, record.error)

    def _start(self) -> None:
        while self._waiting and self._idle:
            point = self._waiting.pop(0)
            if time.monotonic() + self._known.get(_but_for_the_seed(point), 0.0) < self._end:
                lane = self._idle.pop()
                future = self._threads.submit(lane.ask, [point], self._limit, fork=PRELOADED)
                self._running[future] = point, lane

    def _over(self, future: Future[Told]) -> None:
        """Keep the record of a cell that is over."""
        point, lane = self._running.pop(future)
        try:
            (told,) = future.result()
        except Failed as error:
            lane.stop()
            lane = isolated.Process()
            told = {"seen": {}, "status": "failed", "error": str(error)}
        self._idle.append(lane)
        seen = Measurement(**told["seen"])
        seen.isolated = seen.beside = True
        self._known[_but_for_the_seed(point)] = seen.elapsed
        record = record_of(point, seen, status=told["status"], error=told["error"], profile=self._profile)
        self._keep(record)
        self.records[point.key] = record

    def close(self) -> None:
        """End the processes."""
        for lane in [*self._idle, *(lane for _, lane in self._running.values())]:
            lane.stop()
        self._threads.shutdown(cancel_futures=True)


def place(point: Point | None, options: Options) -> tuple[float, ...]:
    """Where a cell stands in the order of a run: those measured beside one another come last."""
    if point is None or point.case.beside is None or options.hours is None or options.ray_address is not None:
        return (0.0,)
    return (1.0, *point.case.beside(point.params))


def waits_for_others(point: Point, options: Options) -> bool:
    """Whether pytest waits for more than this cell when it is its turn."""
    return options.ray_address is None and (bool(point.case.processes) or place(point, options) > (0.0,))


class Lanes:
    """Where each cell of a run is measured: in turns with its series, beside others, alone here or in a process.

    limit: seconds that a cell, or a series in one process, may take elsewhere.
    """

    def __init__(
        self, points: Sequence[Point], known: Sequence[Record], options: Options, keep: Keep, say: Say, limit: float
    ) -> None:
        self._options, self._limit, self._keep, self._say = options, limit, keep, say
        self._began = time.monotonic()
        self._last = [point for point in points if place(point, options) > (0.0,)]
        earlier = {record.key: record for record in known}
        first = [point for point in points if point.case.processes]
        left = None if options.hours is None else lambda: self._left(TIMING)
        self._turns = Turns(first, earlier, options.profile, keep, say, limit, left)
        self._beside: Beside | None = None

    def _left(self, share: float) -> float:
        """Seconds of this share of the run's time that are left."""
        return self._began + share * 3600 * (self._options.hours or math.inf) - time.monotonic()

    @property
    def records(self) -> dict[str, Record]:
        """The records that are on disk, by the key of their cell."""
        return self._turns.records | (self._beside.records if self._beside else {})

    def measure(self, point: Point, seen: Measurement) -> None:
        """Measure a cell into `seen`, or wait until it is. Raises what the cell raises, or Failed or LeftOut."""
        if point.case.processes:
            self._turns.measure(point, seen)
        elif place(point, self._options) > (0.0,):
            if self._beside is None:
                self._turns.close()
                end = time.monotonic() + self._left(1 - RESERVE)
                self._beside = Beside(self._last, self._options.profile, self._keep, end, self._limit)
            self._beside.measure(point, seen)
        elif self._options.isolate:
            isolated.measure_alone(point, seen)
        else:
            tell, rounds = show.now_and_then(self._say), itertools.count(1)
            where = name_of(point.case.name, point.params, words=True)
            with outlived():
                measure(point, seen, on=lambda: tell(f"{where}: round {next(rounds)} of {point.rounds}"))

    def close(self) -> None:
        """End all processes."""
        for each in (self._turns, self._beside):
            if each is not None:
                each.close()


def _but_for_the_seed(point: Point) -> str:
    return name_of(point.case.name, point.params, ("seed",))
