"""Where jobs go."""

from hycam_exp.plan.nodes import Cluster, place
from hycam_exp.plan.work import Job


def job(gpus: int, nodes: int = 1) -> Job:
    return Job(name="", gpus=gpus, nodes=nodes, train=1)


def test_the_last_node_has_what_is_over():
    """Twenty GPUs in nodes of eight; three are one small node."""
    assert Cluster(20, 8).free == [8, 8, 4]
    assert Cluster(3, 8).free == [3]


def test_the_fullest_node_with_room_is_taken():
    """Of 8, 2 and 3 free: the node with 2 for one of 2, and both of the fullest that are enough for two times 3."""
    assert place([8, 2, 3], job(2)) == (1,)
    assert place([8, 2, 3], job(3, nodes=2)) == (2, 0)
    assert place([8, 2, 3], job(4, nodes=2)) is None


def test_gpus_come_back():
    """What was taken on two nodes is free again."""
    cluster = Cluster(16, 8)
    cluster.take(job(5, nodes=2), (0, 1))
    assert cluster.free == [3, 3]
    assert not cluster.holds([job(1), job(4)])
    cluster.give_back(job(5, nodes=2), (0, 1))
    assert cluster.free == [8, 8]
    assert cluster.holds([job(1), job(4)])
