"""PA%K, alarms and the budget once more, in plain loops, as their definitions say."""

from fractions import Fraction

from naive import events


def pa_k(labels, scores, percent):
    """Best F1 where an event is filled once strictly more than K % of its rows are flagged."""
    best = Fraction(0)
    for threshold in set(scores):
        flagged = [score >= threshold for score in scores]
        for rows in events(labels):
            if sum(flagged[row] for row in rows) * 100 > percent * len(rows):
                for row in rows:
                    flagged[row] = True
        best = max(best, f1(labels, flagged))
    return best


def f1(labels, flagged):
    pairs = list(zip(map(bool, labels), flagged, strict=True))
    return Fraction(2 * pairs.count((True, True)), sum(map(int, labels)) + sum(map(int, flagged)))


def stretches(scores, threshold):
    """First and last row of every alarm, with all between them, rows fewer than 10 apart one."""
    found = []
    for row, score in enumerate(scores):
        if score > threshold:
            if found and row - found[-1][-1] - 1 < 10:
                found[-1] = range(found[-1][0], row + 1)
            else:
                found.append(range(row, row + 1))
    return found


def false_alarms(labels, scores, threshold):
    return sum(not any(labels[row] for row in stretch) for stretch in stretches(scores, threshold))


def delays(labels, scores, threshold):
    """Rows from the start of each event that holds a flagged row to the first of these."""
    first = [
        next((i for i, row in enumerate(rows) if scores[row] > threshold), None)
        for rows in events(labels)
    ]
    return [delay for delay in first if delay is not None]


def alarm_budget(scores, allowed):
    """The lowest score at and above which no score gives more alarms than are allowed."""
    chosen = None
    for threshold in sorted(set(scores), reverse=True):
        if len(stretches(scores, threshold)) > allowed:
            break
        chosen = threshold
    return chosen
