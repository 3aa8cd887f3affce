"""A directory as a model, and every order in which the steps of `storage_proxy/store/fence.py` can fall on it.

The dialogues are the real generators; nothing of them is repeated here. How this stays small, and why it may:

1. *Values.* The fence looks at a value only through the transition (`is` it the same object?), so a value says only
   whether the asker's change is in it. That is enough while there is one history: then a revision stands for exactly
   one text. An installation that would make a second history is the first violation, and ends the run.
2. *Dialogues.* A generator cannot be copied, so its states are numbered, and reached by replaying answers. The key of a
   state is (which dialogue, `helped_to`, the answers since the loop's top). The loop's top is the instruction of the
   first step. There `change` overwrites all its locals before it looks at them, but for `transition`, `lost`, `helped`
   and `helped_to`; `lost` and `helped` are only counted and reported. `_CARRIED` and `_OVERWRITTEN` list the locals,
   and a new one stops the model until somebody has thought about it. With `reduced=False` the key is the whole
   history, and a test compares.
3. *Names.* A staged name is used once. So all names whose file is gone are one name (0).
4. *Commuting steps* are done at once with the step before: `Stage` (nobody can know the name yet), and whatever is
   asked about a name whose file is gone. Clients with the same task are interchangeable and are sorted.
5. *Loss of power.* Names are lost in order, so what survives is the directory as it once was, at or after the last
   `SyncNames`. Two checks cover all of it: a revision that is told must not be above `durable`, the revision at the
   last `SyncNames`; and in any state all dialogues at once may die and begin anew on the names as they are.
6. *The sweeper* removes what is not above a revision that `fence.read` told it: at any time, whatever is not above
   `durable`. *An answer that was lost* makes the share do a `Link` a second time, with anything in between.
7. *Stopping for ever* needs no move of its own: every state is judged, with whatever the others do from there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from storage_proxy.store import fence
from storage_proxy.store.fence import Linked, Version

# ---- the real dialogues ---------------------------------------------------------------------------------------------

_CARRIED = {"transition", "durably", "lost", "helped", "helped_to"}
_OVERWRITTEN = {"current", "value", "wanted", "staged", "won", "again"}


class Value(NamedTuple):
    mine: bool


_VALUES = (Value(False), Value(True))
LINKED = (Linked.YES, Linked.TAKEN, Linked.STAGED_MISSING)


def _once(value: Value) -> Value:
    return value if value.mine else _VALUES[True]


class _SaidNo(Exception):
    pass


def _only_once(value: Value) -> Value:
    if value.mine:
        raise _SaidNo
    return _VALUES[True]


_KINDS: dict[str, Callable[[], fence.Dialogue[Any]]] = {
    "change": lambda: fence.change(_once),
    "change, or a refusal": lambda: fence.change(_only_once),
    "change, not durably": lambda: fence.change(_once, durably=False),
    "read": fence.read,
}


@dataclass(frozen=True, slots=True)
class Node:
    """One state of a dialogue."""

    kind: str
    before: tuple[Any, ...]
    """answers up to the loop's top"""
    answers: tuple[Any, ...]
    """answers since"""
    asked: tuple[fence.Step, ...]
    """steps since the loop's top; the last waits for its answer"""
    result: Any = None


class Dialogues:
    def __init__(self, reduced: bool) -> None:
        self.nodes: list[Node] = []
        self._reduced = reduced
        self._known: dict[Any, int] = {}
        self._next: dict[tuple[int, int], int] = {}
        unknown = set(fence.change.__code__.co_varnames) - _CARRIED - _OVERWRITTEN
        assert not unknown, f"new locals in fence.change: {unknown}; are they looked at before they are overwritten?"

    def begin(self, kind: str) -> int:
        return self._number(kind, ())

    def go_on(self, number: int, code: int) -> int:
        """The state after this answer. Codes are the model's short spelling of answers."""
        found = self._next.get((number, code))
        if found is None:
            node = self.nodes[number]
            found = self._number(node.kind, (*node.before, *node.answers, _spelled_out(node, code)))
            self._next[number, code] = found
        return found

    def _number(self, kind: str, answers: tuple[Any, ...]) -> int:
        dialogue: Any = _KINDS[kind]()
        asked: list[fence.Step] = []
        result: Any = None
        top, carried = 0, None
        try:
            asked.append(dialogue.send(None))
            first = dialogue.gi_frame.f_lasti
            for index, answer in enumerate(answers, 1):
                asked.append(dialogue.send(answer))
                if dialogue.gi_yieldfrom is None and dialogue.gi_frame.f_lasti == first:
                    top, carried = index, dialogue.gi_frame.f_locals["helped_to"]
        except StopIteration as end:
            result = end.value
        except _SaidNo:
            # What it says it says of the version that was read last.
            result = fence.Outcome(answers[top], answers[top])
        if not self._reduced:
            carried = answers
        key = (kind, carried, answers[top:])
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(Node(kind, answers[:top], answers[top:], tuple(asked[top:]), result))
        return self._known[key]


def _spelled_out(node: Node, code: int) -> Any:
    match node.asked[-1]:
        case fence.Read():
            return Version(code >> 1, _VALUES[code & 1])
        case fence.Stage() | fence.ReadFence():
            # Names are numbered within the round; the hand that runs the dialogue knows which file is meant.
            return str(sum(isinstance(answer, str) for answer in node.answers)) if code else None
        case fence.Link():
            return LINKED[code]
        case fence.CountLinks():
            return code
        case _:
            return None


# ---- the directory --------------------------------------------------------------------------------------------------


class Violation(Exception):
    pass


class Staged(NamedTuple):
    revision: int
    client: int
    change: int


class Hand(NamedTuple):
    """One who works through its client's changes, from first to last; two hands repeat each other's."""

    change: int
    node: int
    names: tuple[int, ...] = ()
    link_repeated: bool = False
    """the share has linked, its answer was lost, and the call will be repeated"""


class Client(NamedTuple):
    task: int
    installed: int
    """how many of its changes are in `info.json`; they come one after the other"""
    hands: tuple[Hand, ...]


State = tuple[Any, ...]


@dataclass(slots=True)
class World:
    revision: int
    durable: int
    crashes: int
    power_losses: int
    files: list[Staged | None]
    """by name; 0 is the name of all that are gone"""
    fences: dict[int, int]
    clients: list[Client]

    def install(self, name: int, keep_name: bool = False) -> None:
        staged = self.files[name]
        if staged is None:
            return
        client = self.clients[staged.client]
        if staged.revision != self.revision + 1:
            raise Violation(f"revision {staged.revision} was put in the place of revision {self.revision}")
        if staged.change != client.installed:
            raise Violation(f"change {staged.change} of client {staged.client} is in the history twice")
        self.revision = staged.revision
        self.clients[staged.client] = client._replace(installed=client.installed + 1)
        if not keep_name:
            self.files[name] = None

    def links(self, name: int) -> int:
        return 0 if self.files[name] is None else 1 + sum(name == linked for linked in self.fences.values())

    def link(self, name: int, revision: int) -> Linked:
        if self.files[name] is None:
            return Linked.STAGED_MISSING
        if revision in self.fences:
            return Linked.TAKEN
        self.fences[revision] = name
        return Linked.YES


@dataclass(frozen=True, slots=True)
class Asked:
    """One step on its way from a dialogue to the directory."""

    steps: tuple[fence.Step, ...]
    answers: tuple[Any, ...]
    names: tuple[int, ...]


Between = Callable[[World, Asked], int | None]
"""Stands between dialogue and directory: the answer in the directory's place, or None to let the step through."""


@dataclass(frozen=True)
class Task:
    kind: str
    rounds: int = 1
    hands: int = 1
    remembers: bool = False
    """each further change begins with the version that the last one wrote, instead of a look at the share"""


@dataclass(frozen=True)
class Setup:
    tasks: tuple[Task, ...]
    crashes: int = 0
    """how often a dialogue may be given up at any step, and its change tried anew"""
    power_losses: int = 0
    links_repeated: bool = False
    sweeps: bool = False
    durability: bool = True
    """False: `SyncNames` does nothing, as if all names were durable at once"""
    reduced: bool = True
    between: Between | None = None


@dataclass
class Found:
    states: int = 0
    ends: int = 0
    rubbish_fences_max: int = 0
    solo_steps_max: int = 0
    directories: set[Any] = field(default_factory=set)
    """what the states have shown: revision, durable revision, fences with what is in them while they can be helped"""
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


SOLO_STEPS_MAX = 24


class Model:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.dialogues = Dialogues(setup.reduced)
        self._roots = {kind: self.dialogues.begin(kind) for kind in _KINDS}
        self._solo: dict[Any, int] = {}
        classes = sorted(set(setup.tasks), key=lambda task: (task.kind, task.rounds, task.hands, task.remembers))
        self.tasks = [*classes, Task("change")]
        self._members = sorted(classes.index(task) for task in setup.tasks)

    def start(self) -> State:
        world = World(0, 0, self.setup.crashes, self.setup.power_losses, [None], {}, [])
        for number in self._members:
            task = self.tasks[number]
            world.clients.append(Client(number, 0, (Hand(0, self._roots[task.kind]),) * task.hands))
        return self._frozen(world)

    # ---- moves ------------------------------------------------------------------------------------------------------

    def moves(self, state: State) -> Iterator[tuple[str, int, int]]:
        for who, client in enumerate(state[6]):
            for which, hand in enumerate(client.hands):
                if hand.change == self.tasks[client.task].rounds:
                    continue
                yield "step", who, which
                steps = self.dialogues.nodes[hand.node].asked
                if self.setup.links_repeated and isinstance(steps[-1], fence.Link) and not hand.link_repeated:
                    yield "answer lost", who, which
                if state[2] and hand.node != self._roots[self.tasks[client.task].kind]:
                    yield "crash", who, which
        if state[3]:
            yield "power loss", 0, 0
        if self.setup.sweeps:
            for revision, _ in state[5]:
                if revision <= state[1]:
                    yield "sweep fence", revision, 0
            for name, staged in enumerate(state[4]):
                if staged is not None and staged.revision <= state[1]:
                    yield "sweep staged", name, 0

    def after(self, state: State, move: tuple[str, int, int]) -> State:
        what, who, which = move
        world = _thawed(state)
        if what == "power loss":
            world.power_losses -= 1
            world.durable = world.revision
            for index in range(len(world.clients)):
                for other in range(len(world.clients[index].hands)):
                    self._begin_anew(world, index, other)
        elif what == "sweep fence":
            del world.fences[who]
        elif what == "sweep staged":
            world.files[who] = None
        elif what == "crash":
            world.crashes -= 1
            self._begin_anew(world, who, which)
        elif what == "answer lost":
            hand = world.clients[who].hands[which]
            step = self.dialogues.nodes[hand.node].asked[-1]
            assert isinstance(step, fence.Link)
            world.link(hand.names[int(step.staged)], step.revision)
            self._put(world, who, which, hand._replace(link_repeated=True))
        else:
            self._step(world, who, which)
            while self.setup.reduced and self._commutes(world, who, which):
                self._step(world, who, which)
        return self._frozen(world)

    def _begin_anew(self, world: World, who: int, which: int) -> None:
        client = world.clients[who]
        hand = client.hands[which]
        self._put(world, who, which, Hand(hand.change, self._roots[self.tasks[client.task].kind]))

    @staticmethod
    def _put(world: World, who: int, which: int, hand: Hand) -> None:
        client = world.clients[who]
        world.clients[who] = client._replace(hands=(*client.hands[:which], hand, *client.hands[which + 1 :]))

    def _step(self, world: World, who: int, which: int) -> None:
        hand = world.clients[who].hands[which]
        node = self.dialogues.nodes[hand.node]
        names = hand.names
        code = None
        if self.setup.between is not None:
            code = self.setup.between(world, Asked(node.asked, node.answers, names))
        if code is None:
            code, name = _done(world, node.asked[-1], names, who, hand.change)
            if name is not None:
                names = (*names, name)
        if not self.setup.durability:
            world.durable = world.revision
        number = self.dialogues.go_on(hand.node, code)
        after = self.dialogues.nodes[number]
        if after.result is not None:
            self._judge_told(world, who, hand.change, after)
            self._put(world, who, which, Hand(hand.change, number))
            self._begin_next(world, who, which, after)
        else:
            self._put(world, who, which, Hand(hand.change, number, names if after.answers else ()))

    def _begin_next(self, world: World, who: int, which: int, ended: Node) -> None:
        client = world.clients[who]
        self._put(world, who, which, client.hands[which]._replace(change=client.hands[which].change + 1))
        self._begin_anew(world, who, which)
        if self.tasks[client.task].remembers:
            hand = world.clients[who].hands[which]
            remembered = self.dialogues.go_on(hand.node, ended.result.after.revision << 1)
            self._put(world, who, which, hand._replace(node=remembered))

    def _commutes(self, world: World, who: int, which: int) -> bool:
        client = world.clients[who]
        hand = client.hands[which]
        if hand.change == self.tasks[client.task].rounds:
            return False
        match self.dialogues.nodes[hand.node].asked[-1]:
            case fence.Stage():
                return True
            case fence.SyncNames():
                return not self.setup.durability
            case fence.CountLinks(staged) | fence.Install(staged) | fence.RemoveStaged(staged):
                return world.files[hand.names[int(staged)]] is None
        return False

    # ---- what must hold ---------------------------------------------------------------------------------------------

    def _judge_told(self, world: World, who: int, change: int, node: Node) -> None:
        told: Version[Value] = node.result if node.kind == "read" else node.result.after
        if node.kind != "read" and not (told.value.mine and world.clients[who].installed > change):
            raise Violation(f"change {change} of client {who} was acknowledged and is not in info.json")
        if told.revision > world.revision:
            raise Violation(f"revision {told.revision} was told and does not stand")
        if told.revision > world.durable and node.kind != "change, not durably":
            raise Violation(f"revision {told.revision} was told, and a loss of power may leave {world.durable}")

    def judge(self, state: State, found: Found) -> None:
        found.solo_steps_max = max(found.solo_steps_max, self._judge_not_wedged(state))
        found.directories.add((state[0], state[1], tuple((revision, state[4][name]) for revision, name in state[5])))
        if any(hand.change < self.tasks[client.task].rounds for client in state[6] for hand in client.hands):
            return
        found.ends += 1
        found.rubbish_fences_max = max(found.rubbish_fences_max, len(state[5]))
        if (state[2], state[3]) == (self.setup.crashes, self.setup.power_losses):
            if len(state[4]) > 1:
                raise Violation("all are done, and a staged file is left")
            if any(revision > state[0] for revision, _ in state[5]):
                raise Violation("all are done, and the fence of a later revision is left")

    def _judge_not_wedged(self, state: State) -> int:
        """Everybody else has stopped for ever: a new writer is through soon."""
        directory = (state[0], state[4], state[5], tuple(client.installed for client in state[6]))
        if directory not in self._solo:
            world = _thawed(state)
            who = len(world.clients)
            world.clients.append(Client(len(self.tasks) - 1, 0, (Hand(0, self._roots["change"]),)))
            steps = 0
            while world.clients[who].hands[0].change == 0:
                if steps == SOLO_STEPS_MAX:
                    raise Violation(f"a new writer alone is not done after {steps} steps")
                self._step(world, who, 0)
                steps += 1
            self._solo[directory] = steps
        return self._solo[directory]

    # ---- states -----------------------------------------------------------------------------------------------------

    def _frozen(self, world: World) -> State:
        linked: dict[int, list[int]] = {}
        for revision, name in sorted(world.fences.items()):
            linked.setdefault(name, []).append(revision)
        present = [name for name, staged in enumerate(world.files) if staged is not None]
        order = list(range(len(world.clients)))
        if self.setup.reduced:
            order.sort(key=lambda who: _looks(world, who, present, linked))
        place = {who: index for index, who in enumerate(order)}
        renamed = dict.fromkeys(range(len(world.files)), 0)
        files: list[Staged | None] = [None]

        def rank(name: int) -> Any:
            staged = world.files[name]
            assert staged is not None
            return (place[staged.client], staged.change, staged.revision, linked.get(name, []), name)

        for name in sorted(present, key=rank):
            staged = world.files[name]
            assert staged is not None
            renamed[name] = len(files)
            files.append(staged._replace(client=place[staged.client]))
        clients = tuple(
            world.clients[who]._replace(
                hands=tuple(
                    hand._replace(names=tuple(renamed[name] for name in hand.names))
                    for hand in world.clients[who].hands
                )
            )
            for who in order
        )
        fences = tuple((revision, renamed[name]) for revision, name in sorted(world.fences.items()))
        return (world.revision, world.durable, world.crashes, world.power_losses, tuple(files), fences, clients)


def _looks(world: World, who: int, present: list[int], linked: dict[int, list[int]]) -> Any:
    client = world.clients[who]
    own = [(file, linked.get(name, [])) for name in present if (file := world.files[name]) and file.client == who]
    return (
        client.task,
        client.installed,
        [(hand.change, hand.node, hand.link_repeated) for hand in client.hands],
        sorted((file.change, file.revision, revisions) for file, revisions in own),
    )


def _thawed(state: State) -> World:
    return World(state[0], state[1], state[2], state[3], list(state[4]), dict(state[5]), list(state[6]))


def _done(world: World, step: fence.Step, names: tuple[int, ...], who: int, change: int) -> tuple[int, int | None]:
    """Do one step: the answer's code, and the file that a name in the answer means."""
    match step:
        case fence.Read():
            return world.revision << 1 | (world.clients[who].installed > change), None
        case fence.Stage(version):
            world.files.append(Staged(version.revision, who, change))
            return 1, len(world.files) - 1
        case fence.Link(staged, revision):
            return LINKED.index(world.link(names[int(staged)], revision)), None
        case fence.CountLinks(staged):
            return world.links(names[int(staged)]), None
        case fence.ReadFence(revision):
            return (1, world.fences[revision]) if revision in world.fences else (0, None)
        case fence.Install(staged):
            world.install(names[int(staged)])
        case fence.RemoveStaged(staged):
            world.files[names[int(staged)]] = None
        case fence.RemoveFence(revision):
            world.fences.pop(revision, None)
        case fence.SyncNames():
            world.durable = world.revision
    return 0, None


# ---- every order ----------------------------------------------------------------------------------------------------


def explore(setup: Setup) -> Found:
    """All states, nearest first; a violation ends it, with the shortest way there."""
    model = Model(setup)
    start = model.start()
    found = Found()
    seen: dict[State, tuple[State, tuple[str, int, int]] | None] = {start: None}
    layer = [start]
    while layer:
        later: list[State] = []
        for state in layer:
            for move in model.moves(state):
                try:
                    after = model.after(state, move)
                    if after in seen:
                        continue
                    seen[after] = (state, move)
                    model.judge(after, found)
                except Violation as violation:
                    found.violation = str(violation)
                    found.states = len(seen)
                    found.trace = _told(model, seen, state, move)
                    return found
                later.append(after)
        layer = later
    found.states = len(seen)
    return found


def _told(model: Model, seen: dict[State, Any], state: State, move: tuple[str, int, int]) -> list[str]:
    """The way there, one line for each move. Readable with `reduced=False`, where nobody changes places."""
    way = [(state, move)]
    while (before := seen[way[0][0]]) is not None:
        way.insert(0, before)
    return [f"{number:3} {_line(model, *step)}" for number, step in enumerate(way, 1)]


def _line(model: Model, state: State, move: tuple[str, int, int]) -> str:
    what, who, which = move

    def file(name: int) -> str:
        staged = state[4][name]
        return "a file that is gone" if staged is None else f"{chr(65 + staged.client)}'s r{staged.revision}"

    fences = ", ".join(f"{revision}: {file(name)}" for revision, name in state[5])
    line = what
    if what in ("step", "crash", "answer lost"):
        hand = state[6][who].hands[which]
        step = model.dialogues.nodes[hand.node].asked[-1]
        asked = {name: getattr(step, name) for name in step.__dataclass_fields__}
        if "staged" in asked:
            asked["staged"] = file(hand.names[int(asked["staged"])])
        if "version" in asked:
            asked["version"] = f"r{asked['version'].revision}"
        words = ", ".join(str(word) for word in asked.values())
        task = model.tasks[state[6][who].task].kind
        line = f"{chr(65 + who)}{which or ''} {task} {hand.change}  {'' if what == 'step' else what + ': '}"
        line += f"{type(step).__name__}({words})"
    elif what == "sweep fence":
        line = f"the sweeper removes fence {who}"
    elif what == "sweep staged":
        line = f"the sweeper removes {file(who)}"
    return f"{line:52} | before: info.json r{state[0]}, durable r{state[1]}, fences {{{fences}}}"
