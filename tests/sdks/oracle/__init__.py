"""daprd as the oracle: the same calls played on it and on lockside, and both beside each other on one Redis."""

from oracle.beside import beside
from oracle.compare import frozen, plain, storeless, with_token

GAMES = {
    "oracle plain": plain,
    "oracle with a token": with_token,
    "oracle without a store": storeless,
    "oracle with a frozen Redis": frozen,
    "oracle beside daprd": beside,
}
