//! Search in tables of `(number, name)` rows that ascend by number.

/// The name in the row of `number`.
pub(crate) fn by_number<N: Copy + Ord>(rows: &[(N, &'static str)], number: N) -> Option<&'static str> {
    let row = rows.binary_search_by_key(&number, |row| row.0).ok()?;
    rows.get(row).map(|row| row.1)
}

/// The number in the row of `name`, in any case.
pub(crate) fn by_name<N: Copy>(rows: &[(N, &'static str)], name: &str) -> Option<N> {
    rows.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
}

#[cfg(test)]
pub(crate) fn assert_round_trip<N: Copy + Ord + std::fmt::Debug>(rows: &[(N, &'static str)]) {
    for pair in rows.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{:?} is not above {:?}", pair[1], pair[0]);
    }
    for row in rows {
        assert_eq!(by_number(rows, row.0), Some(row.1));
        assert_eq!(by_name(rows, row.1), Some(row.0), "the name of {row:?} is taken twice");
    }
}
