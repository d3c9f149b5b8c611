// The words of two texts that are not in their longest common subsequence.
const MOST_WORDS = 700;
const LEAST_SHARED = 0.3;
const wordsOf = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

// For each text its pieces as [text, differs]; null where the texts are too long to compare, or have little in common.
function differences(left, right) {
  const [a, b] = [wordsOf(left), wordsOf(right)];
  const [m, n] = [a.length, b.length];
  if (m > MOST_WORDS || n > MOST_WORDS) return null;
  const lengths = Array.from({ length: m + 1 }, () => new Uint16Array(n + 1));
  for (let i = m - 1; i >= 0; i--) {
    for (let j = n - 1; j >= 0; j--) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const [keptA, keptB] = [new Set(), new Set()];
  for (let i = 0, j = 0; i < m && j < n;) {
    if (a[i] === b[j]) { keptA.add(i++); keptB.add(j++); }
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  const shared = [...keptA].filter((place) => isWord(a[place])).length;
  if (shared < LEAST_SHARED * Math.max(a.filter(isWord).length, b.filter(isWord).length)) return null;
  return [pieces(a, keptA), pieces(b, keptB)];
}

const isWord = (text) => text.trim() !== "";


function pieces(words, kept) {
  const found = [];
  const unshared = (place) => place in words && isWord(words[place]) && !kept.has(place);
  words.forEach((word, place) => {
    const differs = isWord(word) ? unshared(place) : unshared(place - 1) && unshared(place + 1);
    const last = found[found.length - 1];
    if (last && last[1] === differs) last[0] += word;
    else found.push([word, differs]);
  });
  return found;
}

const marked = (found) => found.map(([text, differs]) => (differs ? html("mark", {}, text) : text));
