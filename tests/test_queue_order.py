"""Who is next: people take turns, and everybody's own order holds."""

from hypothesis import given
from hypothesis import strategies as st

from sdgen.queue.order import Waiting, in_turn, moved, next_to_start

people = st.sampled_from(["ann", "bob", "cat"])


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    count = draw(st.integers(0, 12))
    return [
        Waiting(
            f"job{number}",
            draw(people),
            draw(st.floats(0, 5)),
            float(number),
            draw(st.sampled_from(["", "", "g1", "g2"])),
        )
        for number in range(count)
    ]


running = st.dictionaries(people, st.integers(0, 3))
paused = st.frozensets(people, max_size=2)


served = st.dictionaries(people, st.floats(0, 100))


@given(queues(), served, paused)
def test_everybody_is_in_it_once_and_in_his_own_order(
    queue: list[Waiting], before: dict[str, float], stopped: frozenset[str]
) -> None:
    order = in_turn(queue, before, stopped)
    assert sorted(job.id for job in order) == sorted(job.id for job in queue)
    for person in ("ann", "bob", "cat"):
        mine = [job for job in order if job.turns == person]
        assert mine == sorted(mine, key=lambda job: (job.place, job.created))
    states = [job.turns in stopped for job in order]
    assert states == sorted(states)  # the paused come last


@given(queues().map(lambda queue: [Waiting(j.id, j.turns, j.place, j.created) for j in queue]))
def test_a_newcomer_waits_for_at_most_one_job_of_each_other(queue: list[Waiting]) -> None:
    newcomer = Waiting("new", "newcomer", 0.0, 1e9)
    order = in_turn([*queue, newcomer])
    before = [job.turns for job in order[: order.index(newcomer)]]
    assert len(before) == len(set(before))


@given(st.lists(st.floats(0, 9), unique=True, min_size=1), st.integers(-2, 2), st.data())
def test_a_moved_job_goes_that_far_and_the_others_keep_their_order(
    places: list[float], by: int, data: st.DataObject
) -> None:
    mine = [Waiting(str(number), "ann", place, 0.0) for number, place in enumerate(places)]
    before = [job.id for job in in_turn(mine)]
    job = data.draw(st.sampled_from(before))
    now = moved(mine, job, by)
    goal = before.index(job) + by
    if not 0 <= goal < len(mine):
        assert now == {}
        return
    assert sorted(now.values()) == sorted(places)
    after = sorted(before, key=lambda name: now[name])
    assert after.index(job) == goal
    assert [name for name in after if name != job] == [name for name in before if name != job]


def test_a_job_that_is_not_there_moves_nothing() -> None:
    assert moved([Waiting("a", "ann", 0, 1)], "b", 0) == {}


def test_whose_turn_is_longest_ago_is_next() -> None:
    ann, bob = Waiting("a", "ann", 0, 1), Waiting("b", "bob", 0, 2)
    assert in_turn([ann, bob])[0] == ann
    assert in_turn([ann, bob], {"ann": 5.0})[0] == bob
    assert in_turn([ann, bob], {"ann": 5.0, "bob": 6.0})[0] == ann


@given(queues(), served)
def test_the_order_that_is_told_is_the_one_that_happens(
    queue: list[Waiting], before: dict[str, float]
) -> None:
    queue = [Waiting(job.id, job.turns, job.place, job.created) for job in queue]
    told, happened, now = in_turn(queue, before), [], 1000.0
    while queue:
        job = in_turn(queue, before)[0]
        queue.remove(job)
        happened.append(job)
        now += 1
        before = {**before, job.turns: now}
    assert told == happened


def test_a_group_takes_one_turn() -> None:
    pair = [Waiting(f"p{i}", "ann", i, i, "pair") for i in range(2)]
    later, bob = Waiting("later", "ann", 9, 9), Waiting("b", "bob", 0, 5)
    assert [job.id for job in in_turn([*pair, later, bob])] == ["p0", "p1", "b", "later"]


def start(
    queue: list[Waiting], busy: dict[str, int], *, room: int = 0, groups: tuple[str, ...] = (),
    stopped: frozenset[str] = frozenset(), max_running: int = 8,
) -> str:  # fmt: skip
    found = next_to_start(queue, busy, groups, stopped, max_running=max_running, room=room)
    return found.id if found else ""


def test_who_may_start_now() -> None:
    ann, bob = Waiting("a", "ann", 0, 1), Waiting("b", "bob", 0, 2)
    assert start([ann], {}) == "a"
    assert start([ann], {"ann": 1}) == ""  # one's own second job waits ...
    assert start([ann], {"ann": 1}, room=1) == "a"  # ... unless the batch has room
    assert start([ann], {"ann": 1}, room=-1) == ""
    assert start([ann, bob], {"ann": 1}) == "b"  # another's first does not
    assert start([ann, bob], {"cat": 8}) == ""  # all places are taken
    assert start([ann, bob], {}, stopped=frozenset({"ann"})) == "b"
    assert start([ann], {}, stopped=frozenset({"ann"})) == ""
    second = Waiting("p1", "ann", 1, 1, "pair")
    assert start([second], {"ann": 1}, groups=("pair",)) == "p1"  # a group runs together
    assert start([second], {"ann": 1}, groups=("other",)) == ""  # and no other group's job
    assert start([ann], {"ann": 1}, groups=("",)) == ""  # to be in no group is no group
    assert start([second], {"bob": 8}, groups=("pair",)) == ""  # where there is a place
    assert start([second, bob], {"ann": 1}, groups=("pair",), max_running=2) == "p1"


def test_who_is_served_counts_for_who_starts() -> None:
    ann, bob = Waiting("a", "ann", 0, 1), Waiting("b", "bob", 0, 2)
    served = {"ann": 5.0}
    found = next_to_start([ann, bob], {}, (), (), served, max_running=8, room=0)
    assert found is bob


@given(queues(), running, paused, st.integers(0, 3))
def test_nobody_who_is_paused_starts_and_no_place_is_taken_twice(
    queue: list[Waiting], busy: dict[str, int], stopped: frozenset[str], room: int
) -> None:
    found = next_to_start(queue, busy, (), stopped, max_running=4, room=room)
    if found is None:
        return
    assert found in queue
    assert found.turns not in stopped
    assert sum(busy.values()) < 4
