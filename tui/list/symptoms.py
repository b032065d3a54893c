"""What the differences of the chosen rows look like, worked out in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.compare_job import diagnose
from ..jobs.news import Diagnosed, Ended

if TYPE_CHECKING:
    from ...compare.comparison import Comparison
    from ..jobs.job import Job
    from ..jobs.news import News
    from ..session import Host
    from .face import ListFace


class Symptoms:
    """Looks at one choice of rows at a time."""

    def __init__(self, host: Host, face: ListFace) -> None:
        self._host, self._face = host, face
        self.job: Job | None = None

    def look(self, _: str = "") -> None:
        """Work out what the difference of the marked rows, or of this one, looks like."""
        session = self._host.session
        rows, comparison = session.chosen(), session.comparison
        if comparison is None or not rows:
            self._host.say("no row to look at")
        elif not comparison.complete:
            self._host.say("symptoms need all rows to be measured")
        elif self.job is not None:
            self._host.say("still working on other rows; Ctrl-C stops that", warn=True)
        else:
            self.job = self._host.start(diagnose(comparison, rows), self._take)

    def drop(self) -> None:
        """Rows may be made anew: stop, and ignore what is still found of those of before."""
        if self.job is not None:
            self.job.drop()
            self.job = None

    def _take(self, news: News) -> None:
        if isinstance(news, Ended):
            self.job = None
            if news.error is not None:
                raise news.error
            if not news.complete:
                self._host.say("symptoms: stopped")
        elif isinstance(news, Diagnosed):
            comparison = self._host.session.comparison
            if comparison is not None:
                self._face.show_pane()
                self._host.rows_changed(news.rows)
                self._host.say(diagnosed_text(comparison, news))


def diagnosed_text(comparison: Comparison, news: Diagnosed) -> str:
    """What the last row looks like, and how many there were."""
    from ...compare.model import ByStatistics
    from ...compare.reports.words import symptom_lines

    row = news.rows[-1]
    found = symptom_lines(comparison.known_symptoms(row))
    if isinstance(comparison.measurements[row], ByStatistics):
        found = ["no symptom: there are statistics only, no values to look at"]
    of = f"{news.done} of {news.total}: " if news.total > 1 else ""
    looks = found[0] if found else "no symptom: equal, or not completely readable"
    return f"{of}{comparison.rows[row].label}: {looks}"
