"""Makes a failing story short: drops what is not needed for the same rule to be broken."""

from __future__ import annotations

from .invariants import judge
from .story import Story
from .world import play


def broken(story: Story) -> set[str]:
    return {violation.rule for violation in judge(play(story))}


def shrink(story: Story, rule: str, tries: int = 250) -> Story:
    """The shortest story found, within so many attempts, that still breaks `rule`."""
    best = _cut_the_end(story, rule)
    size = max(len(best.happenings) // 2, 1)
    while tries > 0:
        shorter = None
        for begin in range(0, len(best.happenings), size):
            tries -= 1
            candidate = best.without(set(range(begin, begin + size)))
            if tries >= 0 and rule in broken(candidate):
                shorter = candidate
                break
        if shorter is not None:
            best = shorter
        elif size == 1:
            break
        else:
            size //= 2
        size = min(size, max(len(best.happenings) // 2, 1))
    return _single(best, rule)


def _cut_the_end(story: Story, rule: str) -> Story:
    low, high = 0, len(story.happenings)
    while low < high:
        middle = (low + high) // 2
        if rule in broken(story.without(set(range(middle, len(story.happenings))))):
            high = middle
        else:
            low = middle + 1
    shorter = story.without(set(range(high, len(story.happenings))))
    return shorter if rule in broken(shorter) else story


def _single(story: Story, rule: str) -> Story:
    """Leave out single commands of replies that bring several."""
    for place, happening in enumerate(story.happenings):
        commands = happening.args.get("commands", ())
        for command in commands if len(commands) > 1 else ():
            left = [c for c in story.happenings[place].args["commands"] if c != command]
            if not left:
                continue
            candidate = story.with_args(place, commands=left)
            if rule in broken(candidate):
                story = candidate
    return story
