"""Everything that is exported, in the order in which it is written. A new subject is one file and one line here."""

from gpuwatch_exporters.prometheus import faults, findings, gpus, links, mig, node, own, probes, processes
from gpuwatch_exporters.prometheus.family import Family, Page, Subject, View

SUBJECTS: tuple[Subject, ...] = (
    node.NODE_SUBJECT,
    gpus.GPUS,
    gpus.ACTIVITY,
    gpus.MEMORY,
    gpus.POWER,
    gpus.THERMALS,
    gpus.CLOCKS,
    gpus.THROTTLING,
    links.PCIE,
    links.NVLINK,
    links.NVLINK_LINKS,
    faults.HEALTH,
    faults.XIDS,
    mig.MIG,
    processes.JOBS,
    processes.PROCESSES,
    findings.FINDINGS,
    probes.PROBES,
    node.HOST,
    own.AGENT,
    own.COLLECTORS,
    own.NOTIFICATIONS,
)
FRESHNESS: tuple[Family, ...] = (node.UP, node.AGE)
"""In every scrape, and last."""

BY_NAME: dict[str, Subject] = {subject.name: subject for subject in SUBJECTS}


def page_of(subject: Subject, view: View) -> Page:
    """What is to be said about one subject."""
    page = Page()
    for write in subject.writers:
        write(view, page)
    return page
