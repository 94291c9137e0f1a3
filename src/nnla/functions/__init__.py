"""Functions of symmetric operators: f(A) v by learned or classical polynomials, by Lanczos, or exactly."""

from nnla.functions.multiply import MatrixFunction, funm_multiply, matfun, matrix_function
from nnla.functions.report import MatrixFunctionReport

__all__ = ["MatrixFunction", "MatrixFunctionReport", "funm_multiply", "matfun", "matrix_function"]
