"""Sequences on a stack of bits: all of a block step by step, with the conditionals of a density."""

import numpy as np

from sklearn_dgm.codec._blocks import Decoder, Encoder, code_cells, frequencies


class SequenceCoder:
    """Sequences of whole numbers, put on a stack and taken off, with the probabilities of a density.

    It stands beside :class:`~sklearn_dgm.codec._blocks.RowCoder`; rows are the steps of all sequences.

    Parameters
    ----------
    factors : StepFactors
        What `_step_factors` of a density gives.
    cells : list of Cells
        Those of the columns of a step.
    lengths : ndarray of int of shape (n_sequences,)
        Lengths of the sequences; of those that are decoded any, where ends are a part of a sequence.

    Attributes
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        After `decode` those that were encoded.
    """

    def __init__(self, factors, cells, lengths):
        self.factors, self.cells, self.lengths = factors, cells, np.array(lengths, dtype=np.intp)

    def _blocks(self):
        step = self.factors.rows_at_once
        return [slice(start, start + step) for start in range(0, len(self.lengths), step)]

    def encode(self, numbers, missing, stack):
        """Put sequences on a stack.

        Parameters
        ----------
        numbers : ndarray of int64 of shape (n_steps, d)
            Cells of the columns, of all steps of all sequences.
        missing : ndarray of bool of shape (n_steps, d)
            Where a cell is missing: nowhere.
        stack : Stack
            The stack.
        """
        starts = np.cumsum(self.lengths) - self.lengths
        # What is put first is taken last: so the first block is decoded first.
        for block in reversed(self._blocks()):
            encoder = Encoder()
            self._walk(self.lengths[block], encoder, lambda at: numbers[at], starts[block])
            encoder.put_on(stack)

    def decode(self, missing, stack):
        """Take sequences off a stack.

        Parameters
        ----------
        missing : ndarray of bool of shape (n_steps, d)
            Where a cell is missing: nowhere.
        stack : Stack
            The stack.

        Returns
        -------
        numbers : ndarray of int64 of shape (n_steps, d)
            Cells of the columns.
        """
        parts, most = [np.zeros((0, len(self.cells)), dtype=np.int64)], len(missing)
        for block in self._blocks():
            steps, lengths = self._walk(self.lengths[block], Decoder(stack), most=most)
            most -= lengths.sum()
            self.lengths[block] = lengths
            parts.append(steps)
        return np.concatenate(parts)

    def _steps(self, lengths, end):
        """Go through the steps of a block of sequences, all of them at once.

        Parameters
        ----------
        lengths : ndarray of int of shape (n,)
            Lengths of the sequences.
        end : callable
            Given the sequences that have not ended, the number of steps so far, and their probabilities of ending here
            (None where these are no part of them), it returns which go on.

        Yields
        ------
        alive : ndarray of int
            The sequences that have a further step.
        t : int
            Its number.
        columns : iterator
            Its columns and their conditionals, as :meth:`StepFactors.visit` gives them.
        z : ndarray of shape (n_alive, d)
            The encoded step, which the caller fills in.
        """
        factors, alive, t = self.factors, np.arange(len(lengths)), 0
        state = factors.start(len(alive))
        while len(alive):
            goes_on = end(alive, t, factors.stop_probability(state))
            alive, state = alive[goes_on], factors.take(state, np.flatnonzero(goes_on))
            if len(alive):
                z = np.zeros((len(alive), len(self.cells)))
                yield alive, t, factors.visit(state, z), z
                state, t = factors.advance(state, z), t + 1

    def _walk(self, lengths, coder, truth=None, starts=None, most=None):
        """Code a block of sequences; return their steps and their lengths.

        `truth` gives the cells of steps, where they are known; these of a sequence begin at its entry of `starts`.
        Wrong bits might never end a sequence: so there are `most` steps.
        """
        lengths, of_steps, found = lengths.copy(), [], []

        def end(alive, t, p):
            if p is None:
                return lengths[alive] > t
            ends = None if truth is None else lengths[alive] <= t
            ends = coder.code(frequencies(np.column_stack([1 - p, p])), ends) == 1
            lengths[alive[ends]] = t
            return ~ends

        for alive, t, columns, z in self._steps(lengths, end):
            of_steps.append(alive)
            if most is not None and sum(map(len, of_steps)) > most:
                raise ValueError("there are more steps than were encoded.")
            known = None if truth is None else truth((starts + t)[alive])
            found.append(self._code_step(columns, z, coder, known))
        if not found:
            return np.zeros((0, len(self.cells)), dtype=np.int64), lengths
        order = np.argsort(np.concatenate(of_steps), kind="stable")
        return np.concatenate(found)[order], lengths

    def _code_step(self, columns, z, coder, truth):
        """Code one step of sequences, column by column; return its numbers."""
        numbers, everywhere = np.zeros(z.shape, dtype=np.int64), np.ones(len(z), dtype=bool)
        for j, conditional in columns:
            cells = self.cells[j]
            known = None if truth is None else cells.cells(truth[:, j])
            numbers[:, j] = cells.numbers(code_cells(cells, conditional, everywhere, coder, known))
            z[:, j] = cells.encoded(numbers[:, j])
        return numbers

    def code_length(self, numbers, missing):
        """Return the code length of sequences under the density itself, of shape (n_sequences,), in bits."""
        starts = np.cumsum(self.lengths) - self.lengths
        log_p = [self._log_prob(numbers, self.lengths[b], starts[b]) for b in self._blocks()]
        return -np.concatenate([*log_p, []]) / np.log(2)

    def _log_prob(self, numbers, lengths, starts):
        log_p = np.zeros(len(lengths))

        def end(alive, t, p):
            goes_on = lengths[alive] > t
            if p is not None:
                log_p[alive] += np.log(np.where(goes_on, 1 - p, p))
            return goes_on

        with np.errstate(divide="ignore"):
            for alive, t, columns, z in self._steps(lengths, end):
                steps = numbers[(starts + t)[alive]]
                for j, conditional in columns:
                    mass = self.cells[j].mass(conditional, steps[:, j])
                    log_p[alive] += np.log(mass.clip(0))
                    z[:, j] = self.cells[j].encoded(steps[:, j])
        return log_p
