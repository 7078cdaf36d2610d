"""The help: complete, in both languages, no wider than a terminal."""

from __future__ import annotations

import shlex

import pytest

from sekimori.cli.grammar import build
from sekimori.cli.help import flags_of, write_help, write_overview
from sekimori.cli.main import load
from sekimori.cli.options import scan
from sekimori.cli.text import wide
from sekimori.cli.verbs import NOUNS, VERBS, take_verb
from sekimori.cli.words import EXAMPLES


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_argument_and_flag(verb, language):
    text = write_help(verb, language)
    arguments, flags = flags_of(verb)
    assert len(arguments) == len(
        [word for word in VERBS[verb].arguments.split() if word[0] != "-"][: len(arguments)]
    )
    for name, _ in flags:
        assert f"--{name.replace('_', '-')}" in text
    assert "VALUE" not in text
    assert max(wide(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_overview_names_every_verb(language):
    text = write_overview(language)
    for verb in VERBS:
        assert f"\n  {verb.partition(' ')[0]} " in text
    assert max(wide(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("noun", NOUNS)
def test_the_help_of_a_noun_names_its_verbs(run, noun, language):
    ran = run(noun, "--help", "--lang", language)
    assert (ran.code, ran.err) == (0, "")
    assert run("help", noun, "--lang", language).out == ran.out
    for verb in VERBS:
        if verb.startswith(f"{noun} "):
            assert f"\n  {verb.partition(' ')[2]} " in ran.out
    assert max(wide(line) for line in ran.out.splitlines()) <= 80


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_commands(line):
    words = shlex.split(line.partition(" > ")[0])
    assert words[0] == "sekimori"
    _, rest = scan(words[1:], {})
    build(load(take_verb(rest))).parse_args(rest, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    "words", [("open", "--help"), ("-h", "open"), ("help", "open"), ("open", "80", "-h")]
)
def test_help_is_asked_for_in_many_ways(fake, run, words):
    ran = run(*words)
    assert ran.code == 0
    assert ran.out.startswith("Usage: sekimori open PORTS --to TARGET [options]\n")
    assert run(*words, "--lang", "ja").out.startswith("使い方: sekimori open")
    assert fake.asked == []


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_the_overview_is_asked_for(run, words):
    ran = run(*words)
    assert ran.code == 0
    assert ran.out.startswith("Sekimori opens ports")
