//! Making what cases need: documents, archives, layouts, pods. Nothing here uses the implementation under test.

pub mod archive;
pub mod document;
pub mod files;
