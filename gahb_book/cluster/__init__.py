"""Cluster: pages and trainings as jobs of a SLURM cluster, or of processes that stand for one."""

from gahb_book.cluster.jobs import EXECUTORS, run_on_cluster, submit_jobs
from gahb_book.cluster.tickets import format_status
