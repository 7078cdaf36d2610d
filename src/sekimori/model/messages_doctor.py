"""What goes wrong when another firewall's rules are put right, in English and Japanese."""

from __future__ import annotations

from typing import Final

from sekimori.model.message import Message

__all__ = ["DOCTOR"]

DOCTOR: Final[dict[str, Message]] = {
    "remedy-gone": Message(
        "conflict",
        (
            "cannot carry out {ids}: what was shown is no longer what would be done",
            "Look again with 'sekimori doctor'; the rules have changed meanwhile.",
        ),
        (
            "{ids} を実行できません: 示した内容と今の内容が変わっています",
            "その間に規則が変わりました。sekimori doctor でもう一度見てください。",
        ),
    ),
    "remedy-failed": Message(
        "internal",
        (
            "cannot put the rules of {owner} right: '{step}' failed: {output}",
            "What was done before it was taken back. Run it by hand to see more; the daemon must be root.",
        ),
        (
            "{owner} の規則を直せません: 「{step}」が失敗しました: {output}",
            "それより前に行ったことは元に戻しました。手で実行すると詳しく分かります。デーモンは root でなければなりません。",
        ),
    ),
    "remedy-stays": Message(
        "internal",
        (
            "cannot take back all of what was done to {owner}: '{step}' failed: {output}",
            "Take it back by hand; it stays listed by 'sekimori doctor' until '--undo' finds nothing of it.",
        ),
        (
            "{owner} に行ったことをすべては元に戻せません: 「{step}」が失敗しました: {output}",
            "手で元に戻してください。--undo で何も残っていないと分かるまで、sekimori doctor の一覧に残ります。",
        ),
    ),
    "remedies-unreadable": Message(
        "internal",
        (
            "cannot keep track of what was done to other firewalls in {file}: {why}",
            "Look at the file. Where it is moved away, what it lists has to be taken back by hand.",
        ),
        (
            "ほかのファイアウォールに行ったことの記録 {file} を使えません: {why}",
            "ファイルを確かめてください。どけると、そこに書かれたことは手で元に戻すことになります。",
        ),
    ),
}
