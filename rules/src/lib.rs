//! Rule language.
