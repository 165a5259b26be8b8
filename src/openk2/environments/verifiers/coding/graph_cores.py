"""Cores over graphs and intervals."""

import heapq
import math
from collections import deque

from openk2.environments.verifiers.coding.steps import Step

__all__ = ["GRAPH_CORES"]


def component_sizes(count: int, edges: list[list[int]]) -> list[int]:
    group = list(range(count))
    for a, b in edges:
        old, new = group[a], group[b]
        group = [new if other == old else other for other in group]
    return sorted(group.count(one) for one in set(group))


def distances_from_first(count: int, edges: list[list[int]]) -> list[int]:
    near: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    distance = [-1] * count
    distance[0] = 0
    queue = deque([0])
    while queue:
        node = queue.popleft()
        for other in near[node]:
            if distance[other] < 0:
                distance[other] = distance[node] + 1
                queue.append(other)
    return distance


def triangles(count: int, edges: list[list[int]]) -> int:
    near: list[set[int]] = [set() for _ in range(count)]
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    return sum(len(near[a] & near[b]) for a, b in edges) // 3


def two_colourable(count: int, edges: list[list[int]]) -> bool:
    near: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    side = [0] * count
    for start in range(count):
        if side[start] != 0:
            continue
        side[start] = 1
        stack = [start]
        while stack:
            node = stack.pop()
            for other in near[node]:
                if side[other] == side[node]:
                    return False
                if side[other] == 0:
                    side[other] = -side[node]
                    stack.append(other)
    return True


def bridges(count: int, edges: list[list[int]]) -> int:
    found = 0
    for removed in range(len(edges)):
        reached = {edges[removed][0]}
        stack = [edges[removed][0]]
        while stack:
            node = stack.pop()
            for i, (a, b) in enumerate(edges):
                other = b if a == node else a
                if i != removed and node in (a, b) and other not in reached:
                    reached.add(other)
                    stack.append(other)
        if edges[removed][1] not in reached:
            found += 1
    return found


def smallest_topological_order(count: int, edges: list[list[int]]) -> list[int]:
    waiting = [0] * count
    for _, b in edges:
        waiting[b] += 1
    ready = [node for node in range(count) if waiting[node] == 0]
    order: list[int] = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for a, b in edges:
            if a == node:
                waiting[b] -= 1
                if waiting[b] == 0:
                    heapq.heappush(ready, b)
    return order if len(order) == count else []


def has_cycle(count: int, edges: list[list[int]]) -> bool:
    left = set(range(count))
    while True:
        free = {node for node in left if not any(a in left and b == node for a, b in edges)}
        if not free:
            return bool(left)
        left -= free


def reachable_counts(count: int, edges: list[list[int]]) -> list[int]:
    counts = []
    for start in range(count):
        reached = {start}
        stack = [start]
        while stack:
            node = stack.pop()
            for a, b in edges:
                if a == node and b not in reached:
                    reached.add(b)
                    stack.append(b)
        counts.append(len(reached) - 1)
    return counts


def shortest_lengths(count: int, edges: list[list[int]]) -> list[int]:
    distance = [-1] * count
    heap = [(0, 0)]
    while heap:
        length, node = heapq.heappop(heap)
        if distance[node] >= 0:
            continue
        distance[node] = length
        for a, b, step in edges:
            if a == node:
                heapq.heappush(heap, (length + step, b))
            elif b == node:
                heapq.heappush(heap, (length + step, a))
    return distance


def spanning_forest_length(count: int, edges: list[list[int]]) -> int:
    group = list(range(count))
    total = 0
    for a, b, length in sorted(edges, key=lambda edge: edge[2]):
        old, new = group[a], group[b]
        if old != new:
            total += length
            group = [new if other == old else other for other in group]
    return total


def free_time(rows: list[list[int]]) -> int:
    free = 0
    end = -math.inf
    for start, stop in sorted(rows):
        if end != -math.inf and start > end:
            free += int(start - end)
        end = max(end, stop)
    return free


def merged_intervals(rows: list[list[int]]) -> list[list[int]]:
    merged: list[list[int]] = []
    for start, stop in sorted(rows):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], stop)
        else:
            merged.append([start, stop])
    return merged


def most_overlapping(rows: list[list[int]]) -> int:
    return max((sum(a <= start < b for a, b in rows) for start, _ in rows), default=0)


GRAPH_CORES: tuple[Step, ...] = (
    Step(component_sizes, "graph", "ints",
         "List, ascending, the numbers of nodes in the connected components of the graph.",
         level=0.6),
    Step(distances_from_first, "graph", "ints",
         "List for each node the least number of edges between it and node 0, or -1 where there "
         "is no way.", level=0.6),
    Step(triangles, "graph", "int",
         "Count the sets of three nodes that are all joined to each other.", level=0.5),
    Step(two_colourable, "graph", "bool",
         "Decide whether the nodes can be given two colours so that no edge joins equal ones.",
         level=0.6),
    Step(bridges, "graph", "int",
         "Count the edges without which their two ends would not be connected.", level=0.7),
    Step(smallest_topological_order, "digraph", "ints",
         "List the nodes so that every edge leads from an earlier to a later node; of all such "
         "orders the one that comes first when lists are compared. If there is none, the list is "
         "empty.", level=0.8),
    Step(has_cycle, "digraph", "bool", "Decide whether the graph has a directed cycle.",
         level=0.6),
    Step(reachable_counts, "digraph", "ints",
         "List for each node how many other nodes can be reached from it along the edges.",
         level=0.6),
    Step(shortest_lengths, "weighted", "ints",
         "List for each node the least total length of a way from node 0 to it, or -1 where there "
         "is none.", level=0.9),
    Step(spanning_forest_length, "weighted", "int",
         "Find the least total length of edges that connect all nodes that the graph connects.",
         level=0.9),
    Step(free_time, "intervals", "int",
         "Find the total length of the gaps between the first start and the last end that no "
         "interval covers (0 for none).", level=0.6),
    Step(merged_intervals, "intervals", "matrix",
         "Merge intervals that overlap or touch and list what remains, ascending.", level=0.6),
    Step(most_overlapping, "intervals", "int",
         "Find the greatest number of intervals that contain a common point, where an interval "
         "contains its start but not its end.", level=0.5),
)  # fmt: skip
