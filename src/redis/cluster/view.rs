//! What the nodes of a cluster say of it, and what is to be believed: of several claims to a slot the one of the latest
//! configuration epoch, as the nodes themselves decide it.

use std::collections::BTreeSet;

use crate::redis::master::Address;
use crate::redis::masters::Slot;

/// What one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View(Vec<Claim>);

/// A master, and the slots that are said to be its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    address: Address,
    /// Whether it says so itself.
    is_own: bool,
    epoch: u64,
    /// First and last of each range.
    slots: Vec<(u16, u16)>,
}

/// Whose each slot is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub owners: Vec<Address>,
    /// An index into `owners` for each slot.
    pub slots: Vec<Option<u16>>,
}

impl View {
    /// Reads the answer to `CLUSTER NODES` of the node that was reached at `host`. Over TLS a node's name counts, where
    /// it has one: that is what its certificate is for.
    pub fn parse(text: &str, host: &str, is_tls: bool) -> View {
        View(text.lines().filter_map(|line| Claim::parse(line, host, is_tls)).collect())
    }
}

impl Claim {
    /// `ID IP:PORT@BUS[,NAME[,…]] FLAGS MASTER PING PONG EPOCH LINK SLOTS…`; `None` for a node without slots.
    fn parse(line: &str, host: &str, is_tls: bool) -> Option<Claim> {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, place, flags, _, _, _, epoch, _, slots @ ..] = words.as_slice() else { return None };
        if !flags.split(',').any(|flag| flag == "master") {
            return None;
        }
        let (address, names) = place.split_once('@')?;
        let (ip, port) = address.rsplit_once(':')?;
        let name = names.split(',').nth(1).filter(|name| is_tls && !name.is_empty());
        // A node without any connection yet does not know its own address.
        let host = name.unwrap_or(if ip.is_empty() { host } else { ip });
        let slots: Vec<(u16, u16)> = slots.iter().filter_map(|range| range_of(range)).collect();
        let address = (host.to_owned(), port.parse().ok()?);
        let is_own = flags.contains("myself");
        (!slots.is_empty()).then(|| epoch.parse().ok().map(|epoch| Claim { address, is_own, epoch, slots }))?
    }
}

/// `FIRST-LAST` or one slot; `None` for one that is on its way, such as `[93->-ID]`: it still is whose it was.
fn range_of(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < Slot::COUNT).then_some((first, last))
}

impl Map {
    /// What is to be believed of all that is said. Of a master that speaks for itself no other's word counts: of slots
    /// that it gave up the others never hear.
    pub fn of<'a>(views: impl IntoIterator<Item = &'a View>) -> Map {
        let mut claims: Vec<&Claim> = views.into_iter().flat_map(|View(claims)| claims).collect();
        let own: BTreeSet<&Address> = claims.iter().filter(|claim| claim.is_own).map(|claim| &claim.address).collect();
        claims.retain(|claim| claim.is_own || !own.contains(&claim.address));
        // Stable, so that of equal claims the first stays the last to be written.
        claims.sort_by_key(|claim| claim.epoch);
        let mut map = Map { owners: Vec::new(), slots: vec![None; usize::from(Slot::COUNT)] };
        for Claim { address, slots, .. } in claims {
            let index = map.owners.iter().position(|owner| owner == address).unwrap_or_else(|| {
                map.owners.push(address.clone());
                map.owners.len() - 1
            });
            let index = u16::try_from(index).ok();
            for (first, last) in slots {
                map.slots[usize::from(*first)..=usize::from(*last)].fill(index);
            }
        }
        map.without_the_idle()
    }

    /// How many slots a master has, or none has.
    pub fn count(&self, owner: Option<u16>) -> usize {
        self.slots.iter().filter(|slot| **slot == owner).count()
    }

    /// Drops those whose every claim was outdone.
    fn without_the_idle(self) -> Map {
        let mut kept = vec![None; self.owners.len()];
        let mut owners = Vec::new();
        for (index, owner) in self.owners.iter().enumerate() {
            if self.count(u16::try_from(index).ok()) > 0 {
                kept[index] = u16::try_from(owners.len()).ok();
                owners.push(owner.clone());
            }
        }
        let slots = self.slots.into_iter().map(|slot| slot.and_then(|index| kept[usize::from(index)])).collect();
        Map { owners, slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
aa 10.0.0.1:7000@17000,a.example myself,master - 0 0 3 connected 0-5 7 [93->-bb] [77-<-cc]
bb 10.0.0.2:7000@17000,,shard-id=x master,fail? - 0 0 2 connected 8-16383
cc ::1:7001@17001 slave aa 0 0 3 connected
dd :0@0 master,noaddr - 0 0 9 disconnected
";

    fn address(host: &str, port: u16) -> Address {
        (host.to_owned(), port)
    }

    fn claim(host: &str, epoch: u64, slots: &[(u16, u16)]) -> View {
        View(vec![Claim { address: address(host, 1), is_own: false, epoch, slots: slots.to_vec() }])
    }

    fn owner(map: &Map, slot: usize) -> Option<&str> {
        map.slots[slot].map(|index| map.owners[usize::from(index)].0.as_str())
    }

    #[test]
    fn what_a_node_says_is_read() {
        let map = Map::of(&[View::parse(NODES, "asked", false)]);
        assert_eq!(map.owners, [address("10.0.0.2", 7000), address("10.0.0.1", 7000)]);
        assert_eq!([0, 5, 6, 7, 8].map(|slot| map.slots[slot]), [Some(1), Some(1), None, Some(1), Some(0)]);
        assert_eq!((map.count(Some(1)), map.count(None)), (7, 1));

        let map = Map::of(&[View::parse(NODES, "asked", true)]);
        assert!(map.owners.contains(&address("a.example", 7000)), "{map:?}");
        let map = Map::of(&[View::parse("aa :7000@17000 myself,master - 0 0 0 connected 0-16383", "asked", false)]);
        assert_eq!(map.owners, [address("asked", 7000)]);
        assert_eq!(Map::of(&[View::parse("nonsense\n\n0-1", "asked", false)]).owners, []);
    }

    #[test]
    fn of_itself_a_master_knows_best() {
        let mut own = claim("a", 5, &[(0, 3)]);
        own.0[0].is_own = true;
        let map = Map::of([&own, &claim("a", 5, &[(0, 9)])]);
        assert_eq!([3, 4, 9].map(|slot| owner(&map, slot)), [Some("a"), None, None]);
    }

    #[test]
    fn the_claim_of_the_latest_epoch_is_believed() {
        let (old, new) = (claim("old", 4, &[(0, 9)]), claim("new", 5, &[(0, 4)]));
        for views in [[&old, &new], [&new, &old]] {
            let map = Map::of(views);
            assert_eq!(
                [0, 4, 5, 9].map(|slot| owner(&map, slot)),
                [Some("new"), Some("new"), Some("old"), Some("old")]
            );
        }
        let map = Map::of([&old, &claim("new", 6, &[(0, 16383)])]);
        assert_eq!(map.owners, [address("new", 1)], "who has nothing is no master");
    }
}
