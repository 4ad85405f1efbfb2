//! Aligned columns that fit the screen: first the least needed columns go, then the widest text is cut.

use super::text::Style;
use super::{Screen, columns, shortened};

/// A column.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column {
    pub(in crate::cli) title: &'static str,
    /// Numbers stand at the right.
    pub(in crate::cli) right: bool,
    /// The lower, the earlier it goes when there is no room; none: it never goes.
    pub(in crate::cli) leaves: Option<u8>,
    /// It may be cut to this width when there is still no room.
    pub(in crate::cli) least: Option<usize>,
}

/// A text and how it looks.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Cell {
    pub(in crate::cli) text: String,
    pub(in crate::cli) style: Style,
}

impl Cell {
    pub(in crate::cli) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }

    pub(in crate::cli) fn styled(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

const GAP: usize = 2;

/// Draws the table: a line of titles, then a line for each row. Rows have a cell for each column.
pub(in crate::cli) fn draw(heads: &[Column], rows: &[Vec<Cell>], screen: &Screen) -> String {
    let mut widths: Vec<usize> = heads.iter().map(|head| columns(head.title)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(&cell.text));
        }
    }
    let mut shown: Vec<usize> = (0..heads.len()).collect();
    if let Some(room) = screen.width {
        fit(heads, &mut widths, &mut shown, room);
    }
    let mut out = String::new();
    let titles: Vec<Cell> = heads.iter().map(|head| Cell::styled(Style::Dim, head.title)).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        let mut gap = 0;
        for &i in &shown {
            let (Some(head), Some(cell), Some(&width)) = (heads.get(i), row.get(i), widths.get(i)) else { continue };
            let text = shortened(&cell.text, width);
            let pad = width.saturating_sub(columns(&text));
            let (before, after) = if head.right { (pad, 0) } else { (0, pad) };
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', gap + before));
                line.push_str(&screen.paint.styled(cell.style, &text));
                gap = after + GAP;
            } else {
                gap += width + GAP;
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn fit(heads: &[Column], widths: &mut [usize], shown: &mut Vec<usize>, room: usize) {
    let natural = widths.to_vec();
    let total = |widths: &[usize], shown: &[usize]| {
        shown.iter().filter_map(|i| widths.get(*i)).map(|w| w + GAP).sum::<usize>().saturating_sub(GAP)
    };
    // What may be cut is cut to a readable width before a column is given up, and to its least only at the very end.
    'fitting: for readable in [true, false] {
        loop {
            let over = total(widths, shown).saturating_sub(room);
            if over == 0 {
                break 'fitting;
            }
            let least = |i: usize| {
                let least = heads.get(i).and_then(|h| h.least)?;
                Some(if readable { least * 2 } else { least })
            };
            let spare = |i: usize| widths.get(i).zip(least(i)).map_or(0, |(w, least)| w.saturating_sub(least));
            if let Some(widest) = shown.iter().copied().filter(|i| spare(*i) > 0).max_by_key(|i| spare(*i)) {
                let cut = spare(widest).min(over);
                if let Some(width) = widths.get_mut(widest) {
                    *width -= cut;
                }
                continue;
            }
            let first = shown.iter().copied().filter_map(|i| Some((heads.get(i)?.leaves?, i))).min();
            match first {
                Some((_, leaves)) => shown.retain(|i| *i != leaves),
                None => break,
            }
        }
    }
    // A column that left may have made more room than was needed.
    for &i in shown.iter() {
        let left = room.saturating_sub(total(widths, shown));
        if let (Some(width), Some(natural)) = (widths.get_mut(i), natural.get(i)) {
            *width = (*natural).min(*width + left);
        }
    }
}
