//! A sorted set: members in the order of their scores, and of their bytes where these are the same.

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zset(Vec<(i64, Vec<u8>)>);

impl Zset {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn score(&self, member: &[u8]) -> Option<i64> {
        self.0.iter().find(|(_, other)| other == member).map(|(score, _)| *score)
    }

    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.0.iter().position(|(_, other)| other == member)
    }

    pub fn put(&mut self, member: &[u8], score: i64) {
        self.remove(member);
        let entry = (score, member.to_vec());
        let place = self.0.partition_point(|other| *other < entry);
        self.0.insert(place, entry);
    }

    /// Whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let rank = self.rank(member);
        rank.map(|rank| self.0.remove(rank)).is_some()
    }

    pub fn remove_ranks(&mut self, ranks: std::ops::Range<usize>) -> usize {
        self.0.drain(ranks).count()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.0.iter().map(|(score, member)| (member.as_slice(), *score))
    }
}
