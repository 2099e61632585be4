//! XML descriptions: parsing with limits, and questions that the formats share.

use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::VmError;

/// The most nodes of a document.
const NODES: u32 = 200_000;

/// Parses `text`. Document types are refused: they could define entities that grow without end.
pub(super) fn parse<'t>(path: &Path, text: &'t str) -> Result<Document<'t>, VmError> {
    let options = ParsingOptions { nodes_limit: NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|e| VmError::invalid(path, format!("not good XML: {e}")))
}

/// The child of `node` called `name`, whatever its namespace.
pub(super) fn child<'a, 't>(node: Node<'a, 't>, name: &str) -> Option<Node<'a, 't>> {
    node.children().find(|c| is(*c, name))
}

/// All children called `name`.
pub(super) fn children<'a, 't: 'a>(node: Node<'a, 't>, name: &'a str) -> impl Iterator<Item = Node<'a, 't>> + 'a {
    node.children().filter(move |c| is(*c, name))
}

/// The node at the end of a path of children.
pub(super) fn at<'a, 't>(node: Node<'a, 't>, path: &[&str]) -> Option<Node<'a, 't>> {
    path.iter().try_fold(node, |n, name| child(n, name))
}

/// The trimmed text at the end of a path, unless it is empty.
pub(super) fn text<'a>(node: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    at(node, path)?.text().map(str::trim).filter(|t| !t.is_empty())
}

/// An attribute by its local name.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|a| a.name() == name).map(|a| a.value())
}

/// Whether `node` is an element called `name`.
pub(super) fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}
