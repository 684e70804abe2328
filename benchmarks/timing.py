"""Times that are taken in turn, so that what disturbs one contender disturbs all."""

import contextlib
import resource
import statistics
import time


def cpu_seconds():
    """Returns the CPU time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in _WHO)
    return sum(each.ru_utime + each.ru_stime for each in used)


# One round could be the disturbed one.
_FEWEST_ROUNDS = 2

_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def timed(work):
    """Returns a contender: `count` in, {"wall": seconds, "cpu": seconds} out.

    Args:
        work: A function that does its work `count` times and waits for its end. What
            it finds out beside that, a dictionary or None, is added to the times.
    """

    def contend(count):
        wall, cpu = time.perf_counter(), cpu_seconds()
        found = work(count)
        times = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}
        return {**times, **(found or {})}

    return contend


def in_turn(contenders, count, rounds, seconds=float("inf")):
    """Asks each contender in turn, `rounds` times.

    Args:
        contenders: {name: contender}, as `timed` returns them.
        count: How often each does its work in a round.
        rounds: The number of rounds.
        seconds: The time after which no further round begins, but for the second.

    Returns:
        {name: what it gave in each round}.
    """
    samples = {name: [] for name in contenders}
    began = time.monotonic()
    for done in range(rounds):
        if done >= _FEWEST_ROUNDS and time.monotonic() - began > seconds:
            break
        for name, contend in contenders.items():
            samples[name].append(contend(count))
    return samples


def in_turn_anew(specs, processes, count, rounds, seconds=float("inf")):
    """Lets contenders take turns in processes that begin anew several times.

    A process may be faster or slower than another of the same contender by more than
    its own rounds differ, from its start to its end.

    Args:
        specs: {name: a function that returns a context, which gives the contender}.
        processes: How often they begin anew.
        count: How often each does its work in a round.
        rounds: The number of rounds of each time.
        seconds: As in `in_turn`, of each time.

    Returns:
        {name: what it gave in each round, and in which process}.
    """
    samples = {name: [] for name in specs}
    for process in range(processes):
        with contextlib.ExitStack() as stack:
            contenders = {
                name: stack.enter_context(start()) for name, start in specs.items()
            }
            taken = in_turn(contenders, count, rounds, seconds)
        for name, rounds_of_it in taken.items():
            samples[name] += [{"process": process, **each} for each in rounds_of_it]
    return samples


def medians(samples, images):
    """Returns {name: medians over the rounds}, with all that was measured.

    Args:
        samples: What `in_turn` returned.
        images: Images (or examples) of a round.
    """
    return {
        name: {
            "images_per_second": images / _median(rounds, "wall"),
            "images_per_cpu_second": images / max(_median(rounds, "cpu"), 1e-9),
            "wall_seconds": _median(rounds, "wall"),
            "cpu_seconds": _median(rounds, "cpu"),
            "rounds": rounds,
        }
        for name, rounds in samples.items()
    }


def times_faster(samples, name, peer, clock="wall"):
    """Returns how many times as fast `name` was as `peer`: the median over rounds.

    Each ratio is of one round, so that a load which comes and goes cancels out.
    """
    return statistics.median(
        theirs[clock] / max(mine[clock], 1e-9)
        for mine, theirs in zip(samples[name], samples[peer], strict=True)
    )


def _median(rounds, clock):
    return statistics.median(each[clock] for each in rounds)
