// A voter's proof, checked in the browser: that the ballot is a leaf of the tree whose root the certificate names. The bytes are those
// that src/merkle/mod.rs writes down. No element, no network.

const IV = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const MIXED = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
const [START, END, ROOT] = [1, 2, 8];
const CHUNK = 1024;

const turned = (word, by) => (word >>> by) | (word << (32 - by));

function compress(chain, block, length, flags) {
  const v = [...chain, ...IV.slice(0, 4), 0, 0, length, flags];
  let m = block;
  for (let round = 0; round < 7; round += 1) {
    MIXED.forEach(([a, b, c, d], at) => {
      for (const [word, first, second] of [[m[2 * at], 16, 12], [m[2 * at + 1], 8, 7]]) {
        v[a] = (v[a] + v[b] + word) | 0;
        v[d] = turned(v[d] ^ v[a], first);
        v[c] = (v[c] + v[d]) | 0;
        v[b] = turned(v[b] ^ v[c], second);
      }
    });
    m = ORDER.map((at) => m[at]);
  }
  return chain.map((_, at) => v[at] ^ v[at + 8]);
}

// BLAKE3 of one chunk: a leaf has a few hundred bytes, a node 65.
export function blake3(bytes) {
  if (bytes.length > CHUNK) throw new RangeError('more than a chunk');
  let chain = IV;
  const last = Math.max(0, Math.ceil(bytes.length / 64) - 1);
  for (let at = 0; at <= last; at += 1) {
    const part = bytes.slice(64 * at, 64 * at + 64);
    const padded = new DataView(new ArrayBuffer(64));
    part.forEach((byte, place) => padded.setUint8(place, byte));
    const words = Array.from({ length: 16 }, (_, word) => padded.getUint32(4 * word, true));
    chain = compress(chain, words, part.length, (at === 0 ? START : 0) | (at === last ? END | ROOT : 0));
  }
  const out = new DataView(new ArrayBuffer(32));
  chain.forEach((word, at) => out.setUint32(4 * at, word, true));
  return [...new Uint8Array(out.buffer)];
}

const hex = (bytes) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
const unhex = (text) => text.match(/../g).map((two) => parseInt(two, 16));
const field = (bytes) => [bytes.length, ...bytes];
const big = (value, bytes) => Array.from({ length: bytes }, (_, at) => Number((BigInt(value) >> BigInt(8 * (bytes - 1 - at))) & 255n));
const KINDS = ['standard', 'super', 'mega'];

const leafHash = ({ c, clipId, voteType, weight, sequence }) => blake3([0, ...field(unhex(c)), ...field([...new TextEncoder().encode(clipId)]), ...field([KINDS.indexOf(voteType)]), ...field(big(weight, 2)), ...field(big(sequence, 8))]);

// The root that a leaf's path leads to, by RFC 9162, 2.1.3.2; null where it leads nowhere.
function rootBy(leaf, index, size, path) {
  let [at, last, hash] = [index, size - 1, leaf];
  if (!(index >= 0 && index < size)) return null;
  const up = () => { [at, last] = [Math.floor(at / 2), Math.floor(last / 2)]; };
  for (const other of path.map(unhex)) {
    if (last === 0) return null;
    if (at % 2 || at === last) {
      hash = blake3([1, ...other, ...hash]);
      while (at % 2 === 0 && at) up();
    } else hash = blake3([1, ...hash, ...other]);
    up();
  }
  return last === 0 ? hex(hash) : null;
}

// Whether the ballot is in the result that the certificate is of.
export function holds(proof, certificate) {
  const { leaf, index, size, path } = proof;
  return proof.season === certificate.season && proof.slot === certificate.slot && size === certificate.leaves && rootBy(leafHash(leaf), index, size, path) === certificate.root;
}
