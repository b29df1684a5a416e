//! Items whose manifests cannot be read, as people see them. Pure.

use super::words::counted;

/// What to do about them.
const HINT: &str = "look at these objects; where one is deleted, its item is made anew";

/// What is said of `number` items, of which the first are named; nothing where there are none.
pub(crate) fn said(number: u64, named: &[String]) -> Option<String> {
    if number == 0 {
        return None;
    }
    let (has, gets) = if number == 1 { ("has", "gets") } else { ("have", "get") };
    let items = counted(number, "item");
    let mut text = format!("{items} {has} a manifest that cannot be read, and {gets} no new images:\n");
    named.iter().for_each(|manifest| text.push_str(&format!("  {manifest}\n")));
    if number > named.len() as u64 {
        text.push_str("  …\n");
    }
    text.push_str(&format!("  ({HINT})\n"));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_named_with_the_reason_and_what_to_do() {
        let named = ["`shoes/a/manifest.json`: it is no JSON object".to_owned()];
        assert_eq!(said(0, &[]), None);
        insta::assert_snapshot!(said(1, &named).unwrap() + &said(1_200, &named).unwrap(), @r"
        1 item has a manifest that cannot be read, and gets no new images:
          `shoes/a/manifest.json`: it is no JSON object
          (look at these objects; where one is deleted, its item is made anew)
        1,200 items have a manifest that cannot be read, and get no new images:
          `shoes/a/manifest.json`: it is no JSON object
          …
          (look at these objects; where one is deleted, its item is made anew)
        ");
    }
}
