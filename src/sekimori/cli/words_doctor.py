"""What the CLI says about the doctor: findings, remedies, and the help of the command."""

from __future__ import annotations

from typing import Final

__all__ = ["DOCTOR", "EXAMPLES"]

DOCTOR: Final[dict[str, tuple[str, str]]] = {
    "doctor.error": ("problem", "問題"),
    "doctor.warning": ("warning", "警告"),
    "doctor.notice": ("to know", "参考"),
    "doctor.certain": ("certain", "確実"),
    "doctor.likely": ("likely", "おそらく"),
    "doctor.possible": ("possible", "可能性あり"),
    "doctor.machine": ("this machine", "このマシン"),
    "doctor.rule": ("rule", "規則"),
    "doctor.where": (
        "{family} {table} {chain} (hook {hook}, of {owner}): {rule}",
        "{family} {table} {chain} (フック {hook}、{owner}): {rule}",
    ),
    "doctor.handle": ("handle {handle}", "ハンドル {handle}"),
    "doctor.also": ("also", "ほかに"),
    "doctor.to-do": ("to do", "対処"),
    "doctor.remedy": ("remedy", "直し方"),
    "doctor.clean": (
        "Nothing on this machine keeps packets from what is open ({examined} of {total} mappings looked at).",
        "開けているものへの通信を止めるものは、このマシンにはありません"
        "（マッピング {total} 件中 {examined} 件を調べました）。",
    ),
    "doctor.sum": (
        "Problems: {errors}, warnings: {warnings} ({examined} of {total} mappings looked at).",
        "問題 {errors} 件、警告 {warnings} 件（マッピング {total} 件中 {examined} 件を調べました）。",
    ),
    "doctor.to-fix": (
        "'sekimori doctor --fix' shows the remedies again and carries them out.",
        "sekimori doctor --fix で、直し方をもう一度示してから実行します。",
    ),
    "doctor.stands": (
        "Done to {owner} {when} for {mappings}; to take it back: sekimori doctor --undo",
        "{owner} に行ったことが残っています（{when}、{mappings} のため）。"
        "元に戻すには: sekimori doctor --undo",
    ),
    "doctor.would-do": ("This would be done to {owner}:", "{owner} に次のことをします:"),
    "doctor.would-undo": (
        "This would be taken back of {owner}:",
        "{owner} に行ったことを次のように戻します:",
    ),
    "doctor.done": ("Done to {owner}:", "{owner} に行ったこと:"),
    "doctor.undone": ("Taken back of {owner}:", "{owner} から元に戻したこと:"),
    "doctor.no-remedy": (
        "There is no remedy that could be carried out for what was found.",
        "見つかったことを自動で直す方法はありません。",
    ),
    "doctor.none-stands": ("There is nothing to take back.", "元に戻すものはありません。"),
    "help.verb.doctor": (
        "what keeps packets from the mappings (then exit 3), and how to fix it",
        "マッピングへの通信を止めるものと直し方（あれば終了コード 3）",
    ),
    "help.argument.doctor.name": (
        "only this mapping: its name, id or outside port",
        "このマッピングだけ: 名前、ID、外側ポート",
    ),
    "help.flag.doctor.why": ("the reason, kept in the daemon's log", "デーモンのログに残す理由"),
    "help.flag.fix": (
        "carry out the remedies, which are shown first; then look again",
        "直し方を示してから実行し、もう一度調べる",
    ),
    "help.flag.undo": (
        "take back the remedies that were carried out",
        "実行した直し方を元に戻す",
    ),
}

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "doctor": ("sekimori doctor", "sekimori doctor minecraft --fix", "sekimori doctor --undo"),
}
"""Lines to type, by verb; the same in every language."""
